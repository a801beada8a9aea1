"""A Slurm cluster of two nodes on this machine, for tests and for the fault table."""
