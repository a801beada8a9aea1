"""Metrics of images, masks and cameras, and their intervals."""
