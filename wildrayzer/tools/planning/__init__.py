"""What a run will cost before it starts: work of every job, rates of machines, walltimes and disk."""
