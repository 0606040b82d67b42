"""Stage evaluate: by a score, by a judge, by tasks."""
