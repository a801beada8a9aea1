"""Measures of images that masks, metrics, training and reports share."""

UNKNOWN = 255
"""Value of masks and cluster numbers (uint8) where nothing is known: no true mask, or not computed."""
