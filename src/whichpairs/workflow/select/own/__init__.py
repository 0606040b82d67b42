"""A criterion of one's own: found, told, and a batch picked by it."""
