"""What the core relies on in every builder."""

from __future__ import annotations

import re
import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, ClassVar

import pytest

from launchcore.plugin import (
    ATTEMPT_LABEL,
    OWNER_LABEL,
    QUEUE_LABEL,
    RUN_LABEL,
    BuildPlan,
    BuiltImage,
    Cancelled,
    CredentialHelper,
    Fault,
    Kind,
    Label,
    LaunchError,
    Login,
    Reason,
    Registry,
    Secret,
)
from launchcore.testing.conformance.build_bench import BuilderBench, Files
from launchcore.testing.conformance.leaks import Records, error_of, in_files
from launchcore.testing.conformance.suite import Suite, undocumented
from launchcore.testing.context import RecordingContext

CANARY = "canary-5f1d-in-a-build"


class BuilderConformance(Suite):
    """Subclass it, set ``plugin`` and ``name``, and override :meth:`example` and :meth:`broken`.

    A builder that builds nothing says so in its descriptor (``builds=False``) and is tested for little.
    """

    plugin: ClassVar[str]
    """The plugin's module, as its entry point names it."""
    name: ClassVar[str]
    """The builder's name."""
    settings: Mapping[str, Any] = {}
    """The ``builder:`` block, without its type."""
    repository: str | None = None
    """Where images go; ``None``: they stay where they were built, and nothing is pushed."""
    logins: Sequence[Login | CredentialHelper] = ()
    """What the registry gives to builders."""
    registry: Registry | None = None
    """The registry as the core asks it for digests, for a builder that has no engine to ask."""

    def example(self, number: int) -> Files:
        """The files of a source that can be built; of another number, another content."""
        raise NotImplementedError(f"{self.name}: override example")

    def broken(self) -> Files | None:
        """The files of a source whose build fails through its own fault; ``None``: no build ever fails so."""
        raise NotImplementedError(f"{self.name}: override broken")

    def labels_of(self, bench: BuilderBench, image: BuiltImage) -> Mapping[str, str]:
        """The labels of an image, as its holder says them. Needed where labels are applied."""
        raise NotImplementedError(f"{self.name}: override labels_of")

    def make_bench(self, root: Path) -> BuilderBench:
        return BuilderBench(
            root,
            plugin=self.plugin,
            name=self.name,
            settings=self.settings,
            repository=self.repository,
            logins=self.logins,
            registry=self.registry,
        )

    @pytest.fixture
    def bench(self, tmp_path: Path) -> BuilderBench:
        return self.make_bench(tmp_path)

    def test_every_setting_is_documented(self, bench: BuilderBench) -> None:
        """Help is all that a user reads of a setting.

        If this fails, check that every field is made with ``setting("…")``.
        """
        assert [*undocumented(bench.spec.settings)] == []

    def test_one_that_builds_nothing_says_so(self, bench: BuilderBench) -> None:
        """It refuses with one line and advice, and has not broken anything.

        If this fails, check the descriptor's ``builds``, and that build raises LaunchError with a hint.
        """
        if bench.spec.builds:
            pytest.skip("it builds")
        with pytest.raises(LaunchError) as caught:
            bench.build(bench.plan({"train.py": ""}))
        assert caught.value.reason is Reason.BUILD_FAILED
        assert caught.value.hint

    def test_an_image_has_the_repository_and_a_tag(self, bench: BuilderBench) -> None:
        """The destination is the agent's choice, and the tag says the content.

        If this fails, check how ``plan.destination.repository`` becomes the image's name.
        """
        image = self._build(bench, self._example(bench, 1))
        repository, colon, tag = image.ref.name.rpartition(":")
        assert colon
        assert tag
        assert "/" not in tag
        if bench.repository is not None:
            assert repository == bench.repository

    def test_two_agents_agree_on_the_name(self, bench: BuilderBench) -> None:
        """The name follows from the content alone: not from agent, run, attempt, or place of the tree.

        If this fails, check what the tag is made of: times, paths, labels, host names do not belong there.
        """
        first = self._build(bench, self._example(bench, 1))
        second = bench.build(bench.plan(self._example(bench, 1)), builder=bench.again(bench.elsewhere()))
        assert second.ref.name == first.ref.name

    def test_another_content_has_another_name(self, bench: BuilderBench) -> None:
        """Code, or an argument of the build: whatever determines the image.

        If this fails, check that the tag covers the whole tree and the build arguments.
        """
        first = self._build(bench, self._example(bench, 1))
        second = bench.build(bench.plan(self._example(bench, 2)))
        third = bench.build(bench.plan(self._example(bench, 1), build_args={"LAUNCH_SUITE": "other"}))
        assert len({first.ref.name, second.ref.name, third.ref.name}) == 3

    def test_the_tag_does_not_depend_on_the_repository(self, bench: BuilderBench) -> None:
        """The same image has one tag everywhere, so that registries can be mirrored.

        If this fails, check that the repository is no part of what is hashed.
        """
        first = self._build(bench, self._example(bench, 1))
        if bench.repository is None:
            pytest.skip("images stay where they were built")
        second = bench.build(bench.plan(self._example(bench, 1), repository=f"{bench.repository}-other"))
        assert second.ref.name.rpartition(":")[2] == first.ref.name.rpartition(":")[2]

    def test_what_is_there_is_not_built_again(self, bench: BuilderBench) -> None:
        """Also not after a restart of the agent, and not for another run.

        If this fails, check that the builder looks for the image, and says ``cached``.
        """
        first = self._build(bench, self._example(bench, 3))
        second = bench.build(bench.plan(self._example(bench, 3)), builder=bench.again())
        assert second.cached
        assert second.ref.name == first.ref.name

    def test_builds_at_the_same_time_build_once(self, bench: BuilderBench) -> None:
        """A sweep submits a hundred runs of one commit.

        If this fails, check that one build at a time is done for each name, and that the others look again.
        """
        self._only_if_it_builds(bench)
        barrier = threading.Barrier(4)
        plans = [bench.plan(self._example(bench, 4)) for _ in range(4)]

        def build(plan: BuildPlan) -> BuiltImage:
            builder = bench.again()
            barrier.wait()
            return bench.build(plan, builder=builder, context=bench.new_context())

        with ThreadPoolExecutor(4) as pool:
            images = list(pool.map(build, plans))
        assert sum(not image.cached for image in images) == 1
        assert len({image.ref.name for image in images}) == 1

    def test_the_tree_is_left_as_it_was(self, bench: BuilderBench) -> None:
        """What a builder adds goes beside the tree: a second attempt builds the same.

        If this fails, check where generated files are written to.
        """
        self._only_if_it_builds(bench)
        plan = bench.plan(self._example(bench, 1))
        before = _listing(plan.tree.path)
        bench.build(plan)
        assert _listing(plan.tree.path) == before

    def test_a_build_that_fails_is_the_users_fault(self, bench: BuilderBench) -> None:
        """With one line that names the step, and what it printed in the log.

        If this fails, check that the builder raises LaunchError with Reason.BUILD_FAILED and a hint.
        """
        files = self._broken(bench)
        with pytest.raises(LaunchError) as caught:
            bench.build(bench.plan(files))
        error = caught.value
        assert (error.reason, error.fault) == (Reason.BUILD_FAILED, Fault.USER)
        assert error.detail.strip()
        assert "\n" not in error.detail
        assert error.hint

    def test_after_a_failure_others_can_be_built(self, bench: BuilderBench) -> None:
        """A failure leaves no lock and no half of an image behind.

        If this fails, check what is cleaned up when a build raises.
        """
        files = self._broken(bench)
        for _ in range(2):
            with pytest.raises(LaunchError):
                bench.build(bench.plan(files))
        assert not bench.build(bench.plan(self._example(bench, 5))).cached

    def test_a_cancel_is_obeyed(self, bench: BuilderBench) -> None:
        """Nobody waits for an image that is not wanted any more, and none is left behind as if it was whole.

        If this fails, check that build calls ``context.check()``, and stops what it waits for.
        """
        self._only_if_it_builds(bench)
        stopped = bench.new_context()
        stopped.cancel()
        plan = bench.plan(self._example(bench, 6))
        with pytest.raises(Cancelled):
            bench.build(plan, context=stopped)
        assert not bench.build(plan).cached

    def test_a_push_gives_the_digest(self, bench: BuilderBench) -> None:
        """Runs are pinned by it. A second push of the same changes nothing.

        If this fails, check that push returns the reference with the digest that the registry says.
        """
        plan = bench.plan(self._example(bench, 1))
        image = self._pushable(bench, plan)
        first = bench.push(image, plan)
        second = bench.push(image, plan)
        assert first.name == image.ref.name
        assert re.fullmatch(r"sha256:[0-9a-f]{64}", first.digest or "")
        assert second == first

    def test_a_push_obeys_a_cancel(self, bench: BuilderBench) -> None:
        """An upload of gigabytes is not worth waiting for.

        If this fails, check that push calls ``context.check()``, and stops what it waits for.
        """
        plan = bench.plan(self._example(bench, 1))
        image = self._pushable(bench, plan)
        stopped = RecordingContext()
        stopped.cancel()
        with pytest.raises(Cancelled):
            bench.builder.push(image, plan, bench.given(), stopped)

    def test_cleanup_keeps_the_image(self, bench: BuilderBench) -> None:
        """It removes what one attempt left; the image is everybody's. It may be repeated, for anything.

        If this fails, check what ``cleanup`` goes by: what is shared does not belong to an attempt.
        """
        plan = bench.plan(self._example(bench, 1))
        self._only_if_it_builds(bench)
        bench.build(plan)
        for attempt in (plan.attempt_id, plan.attempt_id, "nobody-1"):
            bench.again().cleanup(attempt)
        assert bench.build(bench.plan(self._example(bench, 1))).cached

    def test_labels_reach_the_image(self, bench: BuilderBench) -> None:
        """Contributed ones as they are, and the owner's, by which images are found to be pruned.

        If this fails, check that ``given.labels`` and the values of ``plan.labels`` are on the image.
        """
        self._only_if_it_builds(bench)
        if Kind.LABEL not in bench.spec.applies:
            pytest.skip("it applies no labels")
        image = bench.build(bench.plan(self._example(bench, 7)), Label(name="cost-centre", value="ml-42"))
        labels = self.labels_of(bench, image)
        assert labels.get("cost-centre") == "ml-42"
        assert bench.site.owner in labels.values()

    def test_a_container_of_the_image_is_not_taken_for_ours(self, bench: BuilderBench) -> None:
        """Containers inherit the labels of their image: one that a person starts must not be swept.

        If this fails, check that the image's labels have other names than those of containers.
        """
        self._only_if_it_builds(bench)
        if Kind.LABEL not in bench.spec.applies:
            pytest.skip("it applies no labels")
        image = bench.build(bench.plan(self._example(bench, 8)))
        labels = self.labels_of(bench, image)
        assert not {OWNER_LABEL, RUN_LABEL, ATTEMPT_LABEL, QUEUE_LABEL} & set(labels)

    def test_secrets_show_nowhere(self, bench: BuilderBench) -> None:
        """Not in the log, the name, an error, a label, or a file that is left.

        If this fails, check where ``Secret.reveal()`` is called, and what becomes of its result.
        """
        self._only_if_it_builds(bench)
        if Kind.LOGIN not in bench.spec.applies:
            pytest.skip("it takes no logins")
        login = Login(host="elsewhere.invalid", username="suite", password=Secret(CANARY))
        files = self.broken()
        with Records() as records:
            image = bench.build(bench.plan(self._example(bench, 9)), login)
            failed = error_of(lambda: bench.build(bench.plan(files), login)) if files else ""
        shown = [*bench.context.lines, str(image), failed, records.text(), in_files(bench.root, text=CANARY)]
        if Kind.LABEL in bench.spec.applies:
            shown.append(str(self.labels_of(bench, image)))
        assert not [each for each in shown if CANARY in each]

    # -- inside --------------------------------------------------------------------------------------

    def _example(self, bench: BuilderBench, number: int) -> Files:
        self._only_if_it_builds(bench)
        return self.example(number)

    def _only_if_it_builds(self, bench: BuilderBench) -> None:
        if not bench.spec.builds:
            pytest.skip("it builds nothing")

    def _build(self, bench: BuilderBench, files: Files) -> BuiltImage:
        self._only_if_it_builds(bench)
        return bench.build(bench.plan(files))

    def _broken(self, bench: BuilderBench) -> Files:
        self._only_if_it_builds(bench)
        files = self.broken()
        if files is None:
            pytest.skip("no build fails through the source's fault")
        return files

    def _pushable(self, bench: BuilderBench, plan: BuildPlan) -> BuiltImage:
        self._only_if_it_builds(bench)
        if bench.spec.pushes:
            pytest.skip("build has pushed already")
        if bench.repository is None:
            pytest.skip("images stay where they were built")
        return bench.build(plan)


def _listing(root: Path) -> dict[str, bytes | None]:
    return {
        str(path.relative_to(root)): path.read_bytes() if path.is_file() else None for path in root.rglob("*")
    }
