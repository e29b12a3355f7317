"""What reaches the run, and what does not leak from it. A part of the runner suite."""

from __future__ import annotations

import time
import uuid
from pathlib import Path

import msgspec

from launchcore.plugin import (
    Contribution,
    EnvVar,
    Kind,
    Label,
    Login,
    Secret,
    SecretFile,
    Volume,
)
from launchcore.testing.conformance import leaks
from launchcore.testing.conformance.bench import RunnerBench
from launchcore.testing.conformance.program import Program
from launchcore.testing.conformance.runner_suite import RunnerSuite, needs


class RunnerReach(RunnerSuite):
    """What reaches the run, and what does not leak from it."""

    def test_the_plans_environment_reaches_the_run(self, bench: RunnerBench) -> None:
        """Variables of queue and run, with every character.

        If this fails, check quoting.
        """
        value = "a b'c\"d$e\\f=g%h*é"
        assert self.shown(bench, Program(show_env=("PLAIN",)), env={"PLAIN": value}) == [f"PLAIN={value}"]

    def test_contributed_variables_reach_the_run(self, bench: RunnerBench) -> None:
        """Plain and secret ones alike.

        If this fails, check that ``given.env`` is applied, and that a Secret is revealed for it.
        """
        needs(bench, Kind.ENV)
        program = Program(show_env=("PLAIN", "HIDDEN"))
        given = (EnvVar(name="PLAIN", value="one"), EnvVar(name="HIDDEN", value=Secret("two")))

        assert self.shown(bench, program, *given) == ["PLAIN=one", "HIDDEN=two"]

    def test_contributed_files_reach_the_run(self, bench: RunnerBench) -> None:
        """The runner picks the path, and names it in the variable that was asked for.

        If this fails, check that ``path_env`` is set to where the file is as the run sees it.
        """
        needs(bench, Kind.FILE)
        file = SecretFile(name="token.txt", content=Secret("in the file"), path_env="TOKEN_PATH")

        assert self.shown(bench, Program(show_files=("TOKEN_PATH",)), file) == ["in the file"]

    def test_a_secret_file_is_gone_after_cleanup(self, bench: RunnerBench) -> None:
        """What was lent for a run is taken back.

        If this fails, check that cleanup removes files, also when the run has failed.
        """
        needs(bench, Kind.FILE)
        file = SecretFile(name="token.txt", content=Secret("in the file"), path_env="TOKEN_PATH")
        handle = bench.start(Program(show_env=("TOKEN_PATH",)), file)
        bench.end(handle)
        path = bench.log(handle).decode().strip().partition("=")[2]
        bench.runner.cleanup(handle)

        assert path
        assert not Path(path).exists()

    def test_labels_reach_the_run(self, bench: RunnerBench) -> None:
        """By its labels an object is found, accounted for and removed.

        If this fails, check that the plan's labels and the contributed ones are on the object.
        """
        needs(bench, Kind.LABEL)
        plan = bench.plan(Program(seconds=self.long))
        handle = bench.start(plan, Label(name="cost-centre", value="ml-42"))
        labels = self.labels_of(bench, handle)

        assert {**labels, **plan.labels, "cost-centre": "ml-42"} == dict(labels)

    def test_logins_reach_the_run(self, bench: RunnerBench) -> None:
        """Without them the image cannot be pulled.

        If this fails, check that ``given.logins`` becomes what the backend pulls with.
        """
        needs(bench, Kind.LOGIN)
        login = self.login()
        handle = bench.start(Program(seconds=self.long), login)

        assert login.host in self.logins_of(bench, handle)

    def test_volumes_reach_the_run(self, bench: RunnerBench, tmp_path: Path) -> None:
        """A queue's owner asked for it.

        If this fails, check that ``given.volumes`` is mounted.
        """
        needs(bench, Kind.VOLUME)
        volume = Volume(source=str(tmp_path), path="/data")
        handle = bench.start(Program(seconds=self.long), volume)

        assert self.volumes_of(bench, handle).get("/data") == str(tmp_path)

    def test_secrets_show_nowhere(self, bench: RunnerBench) -> None:
        """Not in a log of ours, a handle, a status, a label, an error, a file of state, or an argv.

        If this fails, check what the text says where it was found: reveal a Secret only where it
        leaves for the run.
        """
        canary = f"canary-{uuid.uuid4().hex}"
        secret = Secret(canary)
        contributions: list[Contribution] = []
        if Kind.ENV in bench.spec.applies:
            contributions.append(EnvVar(name="CANARY", value=secret))
        if Kind.FILE in bench.spec.applies:
            contributions.append(SecretFile(name="canary", content=secret, path_env="CANARY_PATH"))
        if Kind.LOGIN in bench.spec.applies:
            contributions.append(Login(host="registry.invalid", username="u", password=secret))
        with leaks.Records() as records:
            plan = bench.plan(Program(lines=("quiet",), seconds=self.long))
            handle = bench.start(plan, *contributions)
            bench.running(handle)
            late = bench.plan(Program(), start_before=time.time() - 1)
            texts = {
                "the handle": msgspec.json.encode(handle).decode(),
                "the status": repr(bench.status(handle)),
                "what is owned": repr(bench.runner.owned()),
                "the runner's repr": f"{bench.runner!r} {bench.runner}",
                "the run's log": bench.runner.logs(handle, None, 65536).data.decode(errors="replace"),
                "the stage's log": "\n".join(bench.context.lines),
                "an error": leaks.error_of(lambda: bench.start(late, *contributions)),
                "files of state": leaks.in_files(bench.site.state, bench.site.cache, text=canary),
                "the arguments of a process": leaks.in_arguments(canary),
            }
            if Kind.LABEL in bench.spec.applies:
                texts["a label"] = repr(self.labels_of(bench, handle))
            bench.runner.cancel(handle, 0.0)
            bench.end(handle)
            bench.runner.cleanup(handle)
        texts["a log of ours"] = records.text()

        assert [where for where, text in texts.items() if canary in text] == []
