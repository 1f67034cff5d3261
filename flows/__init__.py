"""The flows: their parameters and the order of their steps, nothing else."""
