"""What gradient features cost and what they keep."""
