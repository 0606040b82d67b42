"""Pools on which things are measured."""
