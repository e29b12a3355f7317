"""launchcore: an open, plugin-based launcher for machine-learning jobs.

This package's root imports nothing, so that ``import launchcore`` costs nothing.
Plugin authors import :mod:`launchcore.plugin`, and only that.
"""
