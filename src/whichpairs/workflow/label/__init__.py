"""Stage label: whoever answers, accepted all or none."""
