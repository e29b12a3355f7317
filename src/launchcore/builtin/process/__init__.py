"""Runner ``process``: runs as processes of this machine, watched by a keeper that outlives the agent."""
