"""This machine, as this user."""

from __future__ import annotations

import os
import pwd
from collections.abc import Sequence

from launchcore.plugin import Contribution, EnvVar, RunPlan, SecretFile, Site


class LocalEnvironment:
    """Works always."""

    def __init__(self, site: Site) -> None:
        self._site = site

    def verify(self) -> str:
        """Who we are: ``local: alice on gpu-box``."""
        try:
            user = pwd.getpwuid(os.getuid()).pw_name
        except KeyError:  # a container with a numeric user
            user = f"uid {os.getuid()}"
        return f"local: {user} on {self._site.host}"

    def access(self, store: str) -> Sequence[EnvVar | SecretFile]:
        """None to give: whoever uses a store finds what this user has."""
        return ()

    def contribute_to_run(self, plan: RunPlan) -> Sequence[Contribution]:
        """Nothing."""
        return ()
