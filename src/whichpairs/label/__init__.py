"""Answers about pairs: one store for all of them, whoever gave them."""
