"""What every plugin's tests begin with: subclass a suite, say what is to be tested, and run pytest.

::

    from launchcore.testing.conformance import RunnerConformance

    class TestSlurm(RunnerConformance):
        plugin = "launch_slurm.plugin"
        name = "slurm"

What a runner cannot do it says in its descriptor, and the tests of that are skipped; nothing else
skips. A standard test that has to be overridden needs ``xfail`` with a reason.
"""

from launchcore.testing.conformance.builder import BuilderConformance
from launchcore.testing.conformance.environment import EnvironmentConformance
from launchcore.testing.conformance.packaging import PackagingConformance
from launchcore.testing.conformance.program import Program
from launchcore.testing.conformance.registry import RegistryConformance
from launchcore.testing.conformance.runner import RunnerConformance
from launchcore.testing.conformance.source import Example, SourceConformance

__all__ = [
    "BuilderConformance",
    "EnvironmentConformance",
    "Example",
    "PackagingConformance",
    "Program",
    "RegistryConformance",
    "RunnerConformance",
    "SourceConformance",
]
