"""The run folder: where a run's work lies, written whole, locked, and done once."""
