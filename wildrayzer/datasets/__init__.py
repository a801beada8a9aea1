"""Outside data and weights: where they come from, how they are fetched, and whether what is here is right."""
