"""Outside data and weights: their sources, how they are fetched, and checks of what is on disk."""
