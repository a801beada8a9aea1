"""What a cluster can run, and jobs left over on it."""
