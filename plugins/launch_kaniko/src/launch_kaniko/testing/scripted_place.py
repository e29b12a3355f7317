"""A builder on the scripted API server, and what tests ask of it."""

from __future__ import annotations

import contextlib
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

from launch_k8s.testing.api_server import ApiServer
from launch_k8s.testing.scripted import wait_until

from launch_kaniko.manifest import MANAGER
from launch_kaniko.order import job_name
from launch_kaniko.testing.scripted import REPOSITORY, FolderRegistry, settings
from launchcore.plugin import BuildPlan, BuiltImage, Cancelled, LaunchError
from launchcore.recipes.recipe import read_recipe
from launchcore.testing.conformance.build_bench import BuilderBench, Files
from launchcore.testing.context import RecordingContext

GOOD: Files = {"Dockerfile": "FROM base\nRUN say hello\n"}


class ScriptedPlace:
    """A bench with what the tests ask for."""

    def __init__(self, root: Path, server: ApiServer, **more: Any) -> None:
        self.server = server
        self.registry = FolderRegistry(root / "registry")
        self.bench = BuilderBench(
            root,
            plugin="launch_kaniko.plugin",
            name="kaniko",
            settings={**settings(root, server, self.registry), **more},
            repository=REPOSITORY,
            logins=(),
            registry=self.registry,
        )
        self.pool = ThreadPoolExecutor(4)

    @property
    def store(self) -> Any:
        return self.server.store

    def plan(self, files: Files = GOOD, **changes: Any) -> BuildPlan:
        return self.bench.plan(files, **changes)

    def begin(self, plan: BuildPlan, **how: Any) -> tuple[Future[BuiltImage], RecordingContext]:
        """Build on another thread."""
        context = self.bench.new_context()
        builder = how.pop("builder", None) or self.bench.again()
        return self.pool.submit(self.bench.build, plan, builder=builder, context=context, **how), context

    def jobs(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.store.items("jobs", "")
        return found

    def pods(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.store.items("pods", "")
        return found

    def running(self) -> dict[str, Any]:
        def runs() -> list[dict[str, Any]]:
            return [pod for pod in self.pods() if pod["status"].get("phase") == "Running"]

        found: list[dict[str, Any]] = wait_until("the build runs", runs)
        return found[0]


def slow(seconds: float = 60.0) -> Files:
    return {"Dockerfile": f"FROM base\nRUN say begun\nRUN sleep {seconds}\nRUN say done\n"}


def image_name(site: ScriptedPlace, plan: BuildPlan) -> str:
    given = site.bench.given()
    recipe = read_recipe(plan, site.bench.settings, given)
    return recipe.name(plan, site.bench.settings, given, bases={}, check=lambda: None)


def held_job(site: ScriptedPlace, plan: BuildPlan) -> dict[str, Any]:
    """The Job that the builder would make for this plan."""
    made: list[dict[str, Any]] = []
    builder: Any = site.bench.again()

    def keep(job: dict[str, Any]) -> Any:
        made.append(job)
        raise Cancelled

    builder.cluster.create = keep
    with contextlib.suppress(Cancelled):
        site.bench.build(plan, builder=builder)
    return made[0]


def done_job(image: str, how: str) -> dict[str, Any]:
    """A Job of an earlier build."""
    return {
        "metadata": {
            "name": job_name(image),
            "labels": {"app.kubernetes.io/managed-by": MANAGER, "launchcore.io/run": "old"},
            "annotations": {"launchcore.io/image": image},
        },
        "spec": {"suspend": True},
        "status": {"conditions": [{"type": how, "status": "True"}]},
    }


def refused(site: ScriptedPlace, plan: BuildPlan) -> LaunchError:
    """Why a build of this plan fails."""
    try:
        site.bench.build(plan)
    except LaunchError as error:
        return error
    raise AssertionError("it does not fail")
