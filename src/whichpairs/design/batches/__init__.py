"""Batches within limits: whole labels, in any order, at random, and no worse than random."""
