"""Metrics, scoring and tables."""
