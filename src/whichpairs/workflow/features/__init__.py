"""Stage features: every completion a vector, block by block."""
