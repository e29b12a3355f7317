"""What AWS offers to launchcore. Imports no SDK: that happens when something is used."""

from __future__ import annotations
