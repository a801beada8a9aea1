"""Features, residual maps, clustering, voting, refinement and the pseudo-mask cache."""
