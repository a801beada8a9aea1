"""Slurm clusters: which jobs can never run, and jobs that a killed Snakemake left behind."""
