"""Every way of choosing pairs, on one interface."""
