"""The stages as functions: each reads the run folder, adds to it, and says what it did."""
