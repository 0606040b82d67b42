"""Commands on policies: fit, train, evaluate, export."""
