"""What labels teach, what is minimised, and what a batch must obey."""
