"""Measures of images that masks, metrics and reports share."""
