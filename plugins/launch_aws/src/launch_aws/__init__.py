"""AWS for launchcore: an environment, and a registry."""
