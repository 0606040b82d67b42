"""From labels to θ, and from θ to a policy on the pool."""
