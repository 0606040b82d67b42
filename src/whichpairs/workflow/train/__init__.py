"""Stages train and export: labels, and what the fit teaches, as preferences."""
