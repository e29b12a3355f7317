"""For all tests: a slow machine is no failure of a property test."""

from __future__ import annotations

from hypothesis import settings

from tests.postgres import own_postgres, postgres

__all__ = ["own_postgres", "postgres"]

settings.register_profile("launchcore", deadline=None)
settings.load_profile("launchcore")
