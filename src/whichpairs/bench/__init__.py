"""The experiments: what the theory predicts, set beside what is found."""
