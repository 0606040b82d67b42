"""The pool: prompts with many completions each, as users have them and as a run keeps them."""
