"""What a policy is worth: rewards, divergences from the reference, and J with its interval."""
