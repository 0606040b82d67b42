"""Stage loop: select, label and fit in rounds, and where they stand."""
