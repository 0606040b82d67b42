"""The design engine's figures: seconds, memory, certificates."""
