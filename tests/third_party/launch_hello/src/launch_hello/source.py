"""A source that writes one file."""

from __future__ import annotations

import hashlib
from pathlib import Path

from launchcore.plugin import FetchPlan, LaunchError, Reason, SourceTree, StageContext


class HelloSource:
    """Greets everybody but nobody."""

    def __init__(self, greeting: str) -> None:
        self.greeting = greeting

    def fetch(self, plan: FetchPlan, into: Path, context: StageContext) -> SourceTree:
        context.check()
        name = plan.source.fields["name"]
        if name == "nobody":
            raise LaunchError("there is nobody to greet", reason=Reason.SOURCE_FAILED, hint="name somebody")
        text = f"{self.greeting}, {name}\n"
        (into / "hello.txt").write_text(text)
        identity = f"sha256:{hashlib.sha256(text.encode()).hexdigest()}"
        return SourceTree(path=into, identity=identity, pinned=plan.source, summary=text.strip())
