"""``launch demo``: a queue, an agent and a real training job, without any set-up."""
