"""A fetch in a process of its own, for tests that kill it: URL, cache, target, commit."""

from __future__ import annotations

import sys
from pathlib import Path

from launchcore.builtin.git.source import GitSource
from tests.sources.gitkit import HTTP
from tests.sources.support import Stage, plan

if __name__ == "__main__":
    url, cache, into, commit = sys.argv[1:]
    Path(into).mkdir()
    found = GitSource(HTTP).fetch(plan("git", Path(cache), url=url, commit=commit), Path(into), Stage())
    print(found.summary)
