"""What the columns mean: prompts, completions, and which of two was preferred."""
