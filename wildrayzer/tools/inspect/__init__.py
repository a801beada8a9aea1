"""The gallery of a pseudo-mask cache: statistics, health, pages and terminal summary."""
