"""Readers of the outside formats, the frame store, view sampling, copy-paste and the embedded data set."""
