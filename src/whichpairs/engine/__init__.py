"""Where a pass over the pool runs."""
