"""Forecast of a run's cost before it starts: operations of every job, rates of machines, walltimes and disk."""
