"""What the page shows, read from the run or computed of it."""
