"""Prompts to completions, one file a back-end."""
