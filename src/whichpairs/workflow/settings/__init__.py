"""What stages that are one module are told."""
