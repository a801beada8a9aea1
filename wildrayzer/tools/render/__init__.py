"""Rendering of own photos."""
