"""Masks, cameras and frames in the formats of other tools."""
