"""The registry `local` and the environment `local`: this machine, and nothing else."""
