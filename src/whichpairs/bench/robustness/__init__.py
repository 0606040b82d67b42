"""Methods against random on many pools, with its page."""
