"""Sweeps of mask options over a cache."""
