"""What computes a block's scores: NumPy's products elsewhere, C tiles or torch here."""
