"""``python -m launchcore.cli``: the same as ``launch``."""

from launchcore.cli import main

main()
