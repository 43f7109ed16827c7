"""Brings the runs of a plan to their end, here or under SLURM, through any number of restarts."""
