"""Photometric, perceptual and motion losses."""
