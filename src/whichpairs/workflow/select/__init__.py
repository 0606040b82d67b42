"""Stage select: which pairs to label, within limits, and what they will buy."""
