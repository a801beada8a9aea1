"""Mutated inputs of every kind: each must be read, or refused by name, and never end in a traceback or a hang."""
