"""Checkpoints of the public release: reading them safely, mapping their keys, and giving them back."""
