"""Commands on the pool: import, generate, features, score."""
