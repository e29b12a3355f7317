"""``python -m launchcore`` is ``launch``."""

from launchcore.cli import main

if __name__ == "__main__":
    raise SystemExit(main())
