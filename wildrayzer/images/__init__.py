"""Measures of images that masks, metrics, training and reports share, and the way from high dynamic range to sRGB."""

UNKNOWN = 255
"""Value of masks and cluster numbers (uint8) where nothing is known: no true mask, or not computed."""
