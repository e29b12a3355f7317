"""What the engine says when something goes wrong → what it means, whose fault it is, what to do. Pure."""

from __future__ import annotations

import re

from launchcore.plugin import Fault, LaunchError, Reason


class EngineAway(Exception):
    """The engine could not be asked, or did not answer in time. Says nothing about what runs there.

    ``refused``: nobody listens at its address, so the engine itself is down, not only the way to it.
    """

    def __init__(self, detail: str, *, refused: bool = False) -> None:
        super().__init__(detail)
        self.refused = refused


class EngineError(Exception):
    """The engine has answered, with an error. ``status`` is the HTTP status."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(one_line(message))
        self.status = status

    @property
    def missing(self) -> bool:
        return self.status == 404

    @property
    def conflict(self) -> bool:
        return self.status == 409 or "name is already in use" in str(self)  # 500 of Podman 4


def one_line(text: str, limit: int = 400) -> str:
    """Printable, on one line, not endless."""
    flat = "".join(char if char.isprintable() else " " for char in text)
    flat = " ".join(flat.split())
    return flat if len(flat) <= limit else flat[: limit - 1] + "…"


def away(error: EngineAway) -> LaunchError:
    """For a stage that cannot go on without the engine."""
    return LaunchError(
        f"the Docker engine cannot be reached: {one_line(str(error), 200)}",
        reason=Reason.INFRASTRUCTURE,
        hint="`launch doctor` on the agent's machine says where it looks for the engine",
        retryable=True,
    )


_DISK_FULL = re.compile(r"no space left on device|disk quota exceeded", re.IGNORECASE)
_UNAUTHORIZED = re.compile(
    r"unauthorized|authentication required|no basic auth credentials|denied|\b401\b|\b403\b|"
    r"incorrect username or password|may require 'docker login'",
    re.IGNORECASE,
)
_BAD_LOGIN = re.compile(
    r"unauthorized|authentication required|\b401\b|incorrect username or password|no basic auth credentials",
    re.IGNORECASE,
)
_NOT_FOUND = re.compile(
    r"manifest unknown|not found|name unknown|manifest for .* not found|no such image|\b404\b|"
    r"does not exist or no pull access",
    re.IGNORECASE,
)
_RATE = re.compile(r"toomanyrequests|rate limit|\b429\b", re.IGNORECASE)
_PLATFORM = re.compile(r"no matching manifest|does not match the specified platform", re.IGNORECASE)
_REFERENCE = re.compile(r"invalid reference format|repository name must be", re.IGNORECASE)


def removed(image: str) -> LaunchError:
    """The engine had ``image`` a moment ago, and has it no more: somebody removed it. It is pulled again."""
    return LaunchError(
        f"the image {image} was removed from the engine before its container was made",
        reason=Reason.IMAGE_PULL,
        fault=Fault.INFRASTRUCTURE,
        hint="who prunes images on that machine? let it spare those that are younger than a day",
        retryable=True,
    )


def pull_failed(image: str, message: str, *, login: bool) -> LaunchError:
    """The engine could not pull ``image``; ``login``: it had credentials for the registry."""
    said = one_line(message, 240)
    text = f"cannot pull {image}: {said}"
    if _DISK_FULL.search(message):
        return disk_full(text)
    if _RATE.search(message):
        return LaunchError(
            text,
            reason=Reason.IMAGE_PULL,
            fault=Fault.INFRASTRUCTURE,
            hint="the registry limits pulls: give the agent a login for it, or wait",
            retryable=True,
        )
    if _PLATFORM.search(message):
        return LaunchError(
            text,
            reason=Reason.IMAGE_PULL,
            hint="the image is not built for this machine; set the queue's `platform`, or build it anew",
        )
    if _REFERENCE.search(message):
        return LaunchError(text, reason=Reason.IMAGE_PULL, hint="look at the spelling of the image's name")
    if _NOT_FOUND.search(message) and "denied" not in message.lower():
        return LaunchError(
            text, reason=Reason.IMAGE_PULL, hint="look at the image's name and tag; has it been pushed?"
        )
    if login and _BAD_LOGIN.search(message):
        return LaunchError(
            text,
            reason=Reason.IMAGE_PULL,
            fault=Fault.INFRASTRUCTURE,
            hint="the registry refuses the login that the agent has for it",
        )
    if _UNAUTHORIZED.search(message):
        # "denied" is said of what is not there as well as of what this login may not read.
        hint = (
            "the image is not there, or the login that the agent has for its registry may not read it"
            if login
            else "the image is not there, or it is private: give the agent a login for its registry"
        )
        return LaunchError(text, reason=Reason.IMAGE_PULL, hint=hint)
    return LaunchError(
        text,
        reason=Reason.IMAGE_PULL,
        fault=Fault.INFRASTRUCTURE,
        hint="the registry cannot be reached from the engine: look at its network, proxy and certificates",
        retryable=True,
    )


def disk_full(text: str) -> LaunchError:
    """The engine's disk."""
    return LaunchError(
        text,
        reason=Reason.INFRASTRUCTURE,
        hint="the engine's disk is full: `docker system df` shows what takes the space, "
        "`plugins.docker.prune` keeps images small",
        retryable=True,
    )


_COMMAND = re.compile(
    r"executable file not found|exec: \"[^\"]*\": (?:stat|is a directory)|"
    r"no such file or directory.*(?:exec|starting container process)|"
    r"starting container process caused.*no such file or directory|exec format error|"
    r"exec: .*: permission denied|exec .*: no such file or directory|is a directory: unknown",
    re.IGNORECASE,
)
_QUEUE = re.compile(
    r"device driver|error gathering device information|no such file or directory.*/dev/|"
    r"stat /dev/.*no such file|"
    r"bind source path does not exist|network .* not found|unknown runtime|invalid runtime|"
    r"unable to find user|unable to find group|no matching entries in passwd|"
    r"invalid CapAdd|invalid CapDrop|invalid capability|unknown capability|mkdir .*read-only|not a directory|"
    r"are you trying to mount a directory|sysctl|seccomp|apparmor|range of CPUs|"
    r"minimum memory limit|unable to set memory limit|"
    r"invalid mount|invalid volume|shm size|ulimit|pids limit|cpuset",
    re.IGNORECASE,
)


def start_failed(message: str, *, command: str, ended: bool = False) -> LaunchError:
    """The engine refused to make or to start a container.

    :param ended: what a killed engine had forgotten of it was found, and killed.
    """
    said = one_line(message, 300)
    if _DISK_FULL.search(message):
        return disk_full(f"the container cannot start: {said}")
    if _COMMAND.search(message):
        return LaunchError(
            f"the command cannot be executed in the image: {_core(said)}",
            reason=Reason.USER_ERROR,
            hint=f"is {one_line(command, 60)!r} in the image, on its PATH and executable, "
            "and built for this machine?",
        )
    if _QUEUE.search(message):
        return LaunchError(
            f"the engine refuses what the queue asks for: {said}",
            reason=Reason.CONFIG_ERROR,
            fault=Fault.INFRASTRUCTURE,
            hint="`launch queue show` shows the queue's configuration; its owner can change it",
        )
    hint = None
    if ended:
        hint = "the engine was killed in mid-start; what ran without its knowing was ended"
    elif "id already in use" in message:
        # It cannot stop it either.
        hint = (
            "the engine was killed in mid-start, and the container may run without its knowing: "
            "`ctr -n moby tasks ls` on its machine shows it"
        )
    return LaunchError(
        f"the engine could not start the container: {said}", reason=Reason.INFRASTRUCTURE, hint=hint
    )


def _core(said: str) -> str:
    """The part of runc's long sentence that says it."""
    found = re.search(r'(exec: ".*|exec .*?: .*|starting container process caused: .*)', said)
    return (found[1] if found else said).removesuffix(": unknown")
