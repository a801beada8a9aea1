"""Readers of the outside data layouts, behind one interface."""
