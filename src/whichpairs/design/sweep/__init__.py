"""One pass over all pairs: how much each would teach, and the few that matter."""
