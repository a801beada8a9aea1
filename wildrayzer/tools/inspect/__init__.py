"""The gallery of a pseudo-mask cache: its figures, its health, its pages and its terminal summary."""
