"""Where both the mathematics and a user's setting begin."""

PRIOR_MARGIN_SPREAD = 1.5
"""τ: prior standard deviation, in logits, of a random pair's margin."""
