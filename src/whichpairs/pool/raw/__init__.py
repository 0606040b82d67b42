"""Files as users have them, brought to columns of values."""
