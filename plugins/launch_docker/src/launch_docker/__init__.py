"""Docker for launchcore: containers as runs, images from sources."""
