"""Fixtures for everybody who tests with launchcore: ``launch_host``, ``launch_site``, ``stage_context``.

This module is imported in every pytest run of an environment that has launchcore, so it imports
nothing but pytest; the rest waits until a fixture is asked for.
"""

from __future__ import annotations

import pytest as pytest
