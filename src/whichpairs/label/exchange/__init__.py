"""Other tools' files: what they ask people, and what comes back."""
