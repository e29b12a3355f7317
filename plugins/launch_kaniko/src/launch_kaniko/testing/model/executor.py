"""The executor: context, Dockerfile, layers, push. ``python -m …executor --context=… --destination=…``."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from . import dockerfile, flags, images
from .context import ContextError, fetch
from .registry import CONFIG, LAYER, MANIFEST, Missing, Registries, RegistryError, auths_of, digest_of, split


class Failed(Exception):
    """The build ends here, with these words."""


def say(text: str, level: str = "info") -> None:
    stamp = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    print(json.dumps({"level": level, "msg": text, "time": stamp}), file=sys.stderr, flush=True)


class Executor:
    """One build."""

    def __init__(self, said: Mapping[str, list[str]], environ: Mapping[str, str], work: Path) -> None:
        self.said = said
        self.environ = environ
        self.context = work / "context"
        self.root = work / "root"
        self.context.mkdir()
        self.root.mkdir()
        folder = Path(environ.get("DOCKER_CONFIG", "/kaniko/.docker"))
        self.registries = Registries(
            auths_of(folder / "config.json"),
            insecure=tuple(said.get("insecure-registry", ())),
            unverified=tuple(said.get("skip-tls-verify-registry", ())),
            authorities=dict(each.split("=", 1) for each in said.get("registry-certificate", ())),
        )
        self.config: dict[str, Any] = {"Env": [], "Labels": {}}
        self.layers: list[tuple[str, int, str]] = []
        self.args: dict[str, str] = {}
        self.given = dict(each.split("=", 1) for each in said.get("build-arg", ()))
        self.key = hashlib.sha256()
        self.missed = False

    def one(self, name: str, default: str = "") -> str:
        return self.said.get(name, [default])[-1]

    def run(self) -> None:
        try:
            fetch(self.one("context"), self.context, self.environ)
        except ContextError as error:
            raise Failed(
                f"Error: error resolving source context: {error}\nUsage:\n  executor [flags]"
            ) from None
        path = self.context / self.one("dockerfile", "Dockerfile")
        if not path.is_file():
            raise Failed(
                "Error: error resolving dockerfile path: please provide a valid path to a Dockerfile"
            )
        for destination in self.said["destination"]:
            try:
                self.registries.check_push(split(destination)[0])
            except RegistryError as error:
                raise Failed(
                    "error checking push permissions -- make sure you entered the correct tag name, and "
                    "that you are authenticated correctly, and try again: "
                    f'checking push permission for "{destination}": '
                    f"{error}"
                ) from None
        try:
            self.build(dockerfile.parse(path.read_text()))
        except dockerfile.ParseError as error:
            raise Failed(f"error building image: parsing dockerfile: {error}") from None
        self.push()

    # -- building --------------------------------------------------------------------------------

    def build(self, instructions: list[tuple[str, str]]) -> None:
        for word, rest in instructions:
            text = f"{word} {rest}"
            if word == "FROM":
                self.base(dockerfile.replace(rest.split(" ")[0], self.given))
                continue
            self.key.update(text.encode())
            say(text)
            getattr(self, f"do_{word.lower()}")(rest, text)

    def base(self, name: str) -> None:
        if name == "scratch":
            return
        say(f"Retrieving image manifest {name}")
        repository, reference = split(name)
        say(f"Retrieving image {name} from registry {repository.partition('/')[0]}")
        try:
            manifest, digest = self.registries.manifest(repository, reference)
            config = json.loads(self.registries.blob(repository, manifest["config"]["digest"]))
            say("Unpacking rootfs")
            for number, each in enumerate(manifest["layers"]):
                data = self.registries.blob(repository, each["digest"])
                images.unpack(images.unpacked(data), self.root)
                self.registries.push_blob(split(self.said["destination"][0])[0], data)
                self.layers.append((each["digest"], len(data), config["rootfs"]["diff_ids"][number]))
        except RegistryError as error:
            raise Failed(
                f"error building image: unable to complete operation after 0 attempts, last error: {error}"
            ) from None
        self.config |= config.get("config") or {}
        self.config["Labels"] = dict(self.config.get("Labels") or {})
        self.key.update(digest.encode())

    def do_arg(self, rest: str, text: str) -> None:
        name, _, default = rest.partition("=")
        self.args[name] = self.given.get(name, default)
        self.key.update(self.args[name].encode())

    def do_env(self, rest: str, text: str) -> None:
        for name, value in dockerfile.pairs(dockerfile.replace(rest, self.values())):
            kept = [each for each in self.config["Env"] or [] if not each.startswith(f"{name}=")]
            self.config["Env"] = [*kept, f"{name}={value}"]

    def do_label(self, rest: str, text: str) -> None:
        self.config["Labels"] |= dict(dockerfile.pairs(rest))

    def do_workdir(self, rest: str, text: str) -> None:
        self.config["WorkingDir"] = str(Path(self.config.get("WorkingDir") or "/", rest))
        before = images.look(self.root)
        self.inside(self.config["WorkingDir"]).mkdir(parents=True, exist_ok=True)
        self.snapshot(before)

    def do_user(self, rest: str, text: str) -> None:
        self.config["User"] = rest

    def do_cmd(self, rest: str, text: str) -> None:
        self.config["Cmd"] = dockerfile.words(rest)

    def do_entrypoint(self, rest: str, text: str) -> None:
        self.config["Entrypoint"] = dockerfile.words(rest)

    def do_copy(self, rest: str, text: str) -> None:
        *sources, target = [each for each in rest.split(" ") if not each.startswith("--")]
        goal = self.inside(str(Path(self.config.get("WorkingDir") or "/", target)))
        before = images.look(self.root)
        for source in sources:
            found = self.context / source
            if not found.exists():
                raise Failed(
                    "error building image: error building stage: failed to get files used from context: "
                    f"failed to get fileinfo for {found}: lstat {found}: no such file or directory"
                )
            if found.is_dir():
                shutil.copytree(found, goal, dirs_exist_ok=True, symlinks=True)
            else:
                into = goal / found.name if target.endswith("/") or goal.is_dir() else goal
                into.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(found, into)
            for path in sorted([found, *found.rglob("*")] if found.is_dir() else [found]):
                self.key.update(path.read_bytes() if path.is_file() else b"")
        self.snapshot(before)

    def do_run(self, rest: str, text: str) -> None:
        cached = self.cache_name()
        if cached and not self.missed:
            try:
                manifest, _ = self.registries.manifest(*split(cached))
                data = self.registries.blob(split(cached)[0], manifest["layers"][0]["digest"])
            except Missing:
                self.missed = True
                say(f"No cached layer found for cmd {text}")
            else:
                say(f"Using caching version of cmd: {text}")
                say("Found cached layer, extracting to filesystem")
                images.unpack(images.unpacked(data), self.root)
                self.add(images.unpacked(data))
                return
        before = images.look(self.root)
        self.execute(rest)
        raw = self.snapshot(before)
        if cached and raw is not None:
            say(f"Pushing layer {cached} to cache now")
            self.push_image(cached, [raw], {"config": {}})

    def execute(self, rest: str) -> None:
        mounted = []
        while rest.startswith("--mount="):
            mount, _, rest = rest.partition(" ")
            fields = dict(
                each.split("=", 1) for each in mount.removeprefix("--mount=").split(",") if "=" in each
            )
            if fields.get("type") == "secret":
                mounted.append(self.mount(fields["id"]))
        command = dockerfile.words(rest)
        say(f"Cmd: {command[0]}")
        say(f"Args: {command[1:]}")
        say(f"Running: {command}")
        user = str(self.config.get("User") or "0").split(":")[0]
        number = int(user) if user.isdigit() else 0

        def enter() -> None:
            os.chroot(self.root)
            os.chdir(self.config.get("WorkingDir") or "/")
            os.setuid(number)

        env = {"PATH": "/usr/local/bin:/usr/bin:/bin", "HOME": "/root", **self.values()}
        done = subprocess.run(command, env=env, preexec_fn=enter, stdin=subprocess.DEVNULL, check=False)
        for path in mounted:
            path.unlink()
        if done.returncode:
            how = "signal: killed" if done.returncode == -9 else f"exit status {done.returncode}"
            raise Failed(
                "error building image: error building stage: failed to execute command: waiting for process "
                f"to exit: {how}"
            )

    def mount(self, name: str) -> Path:
        sources = {}
        for each in self.said.get("secret", ()):
            fields = dict(part.split("=", 1) for part in each.split(","))
            sources[fields["id"]] = fields["src"]
        path = self.inside(f"/run/secrets/{name}")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(Path(sources[name]).read_bytes())
        return path

    def inside(self, path: str) -> Path:
        return self.root / path.lstrip("/")

    def values(self) -> dict[str, str]:
        return {**self.args, **dict(each.split("=", 1) for each in self.config["Env"] or [])}

    def cache_name(self) -> str | None:
        repository = self.one("cache-repo")
        return f"{repository}:{self.key.hexdigest()}" if self.one("cache") == "true" and repository else None

    # -- layers ----------------------------------------------------------------------------------

    def snapshot(self, before: images.Seen) -> bytes | None:
        say("Taking snapshot of full filesystem...")
        raw = images.layer(self.root, before, images.look(self.root))
        if raw is not None:
            self.add(raw)
        return raw

    def add(self, raw: bytes) -> None:
        data = images.packed(raw)
        digest = self.registries.push_blob(split(self.said["destination"][0])[0], data)
        self.layers.append((digest, len(data), digest_of(raw)))

    def push_image(self, name: str, raws: list[bytes], config: dict[str, Any]) -> str:
        repository, reference = split(name)
        packs = [images.packed(raw) for raw in raws]
        layers = [(self.registries.push_blob(repository, data), len(data)) for data in packs]
        return self.push_manifest(repository, reference, layers, config, [digest_of(raw) for raw in raws])

    def push_manifest(
        self,
        repository: str,
        reference: str,
        layers: list[tuple[str, int]],
        config: dict[str, Any],
        diffs: list[str],
    ) -> str:
        whole = {"architecture": "amd64", "os": "linux", **config}
        whole["rootfs"] = {"type": "layers", "diff_ids": diffs}
        data = json.dumps(whole, sort_keys=True).encode()
        manifest = {
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": {
                "mediaType": CONFIG,
                "size": len(data),
                "digest": self.registries.push_blob(repository, data),
            },
            "layers": [{"mediaType": LAYER, "size": size, "digest": digest} for digest, size in layers],
        }
        return self.registries.push_manifest(repository, reference, manifest)

    def push(self) -> None:
        self.config["Labels"] |= dict(each.split("=", 1) for each in self.said.get("label", ()))
        stamp = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        config = {"config": self.config, "created": stamp}
        for destination in self.said["destination"]:
            repository, tag = split(destination)
            say(f"Pushing image to {destination}")
            layers = [(digest, size) for digest, size, _ in self.layers]
            try:
                digest = self.push_manifest(
                    repository, tag, layers, config, [each[2] for each in self.layers]
                )
            except RegistryError as error:
                raise Failed(
                    f"error pushing image: failed to push to destination {destination}: {error}"
                ) from None
            say(f"Pushed {repository}@{digest}")
            if self.one("digest-file"):
                Path(self.one("digest-file")).write_text(digest)


def main(args: list[str], environ: Mapping[str, str]) -> int:
    try:
        said = flags.parse(args)
    except flags.FlagError as error:
        print(f"Error: {error}", file=sys.stderr)
        return 1
    active = sorted(
        name for name, value in environ.items() if name.startswith("FF_KANIKO_") and value == "true"
    )
    say(f"active feature flags: {', '.join(active)}")
    with tempfile.TemporaryDirectory(prefix="kaniko-", ignore_cleanup_errors=True) as work:
        try:
            Executor(said, environ, Path(work)).run()
        except Failed as failed:
            print(failed, file=sys.stderr, flush=True)
            return 1
        except RegistryError as error:
            print(f"error building image: error building stage: {error}", file=sys.stderr, flush=True)
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], os.environ))
