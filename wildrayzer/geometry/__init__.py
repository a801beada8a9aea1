"""Rotations, cameras and Plücker rays."""
