"""One attempt, one main object: created under its name or found there, with all that it needs, or undone.

What a run needs beside its main object (Secrets, ConfigMaps, policies) belongs to it, so that one delete
removes everything: it is created after it, with its uid. A Job with such companions is created *held*
(suspended) and let go when they are there: whoever finds a held one knows that nothing has run. Other kinds
are created as they are; their pods wait for their Secrets in the kubelet.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any, Final

import attrs

from launch_k8s.api import MERGE, Api, path_of
from launch_k8s.clusters import Clusters
from launch_k8s.ender import Ender
from launch_k8s.errors import ApiAway, ApiError, away, refused
from launch_k8s.helpers import resolved
from launch_k8s.manifest import Bundle, in_namespace, owned_by, render
from launch_k8s.names import ATTEMPT, OWNER, PREFIX
from launch_k8s.places import Place, PlaceBook, handle_of
from launch_k8s.pods import annotation
from launchcore.plugin import Given, LaunchError, Reason, RunHandle, RunPlan

HELD: Final = PREFIX + "held"
"""Annotation of a Job that waits for its companions."""
COMPANIONS: Final = PREFIX + "companions"
"""Annotation of another kind's object: the paths of what it cannot run without."""
KUEUE: Final = "kueue.x-k8s.io/queue-name"
UNCLEAR: Final = 30.0
"""Seconds for which a request without an answer is repeated, when the plan has no bound of its own."""
LITTLE: Final = 0.2


def is_held(main: Mapping[str, Any]) -> bool:
    """It was created, and not let go: nothing of it has run."""
    return annotation(main, HELD) == "true"


def let_go(api: Api, path: str, until: float | None = None) -> dict[str, Any]:
    """Let a held Job run. May be repeated."""
    body = {"metadata": {"annotations": {HELD: None}}, "spec": {"suspend": False}}
    found: dict[str, Any] = api.request("PATCH", path, body=body, content=MERGE, until=until)
    return found


class Starter:
    """Creates what an attempt consists of."""

    def __init__(
        self,
        clusters: Clusters,
        book: PlaceBook,
        ender: Ender,
        expect: Callable[[str, Place], None],
    ) -> None:
        """:param expect: told of each attempt just before it is created."""
        self._clusters = clusters
        self._book = book
        self._ender = ender
        self._expect = expect

    def bundle(self, plan: RunPlan, given: Given) -> tuple[Bundle, Place]:
        """What will be created, and where.

        :raises LaunchError: ``config_error``: it cannot be.
        :raises ApiError, ApiAway: the cluster cannot be asked for the kind's name.
        """
        cluster = plan.settings.cluster
        api = self._clusters.api(cluster)
        given = resolved(given, plan.settings)
        made = render(plan, given, plan.settings, self._clusters.settings)
        made = in_namespace(made, made.namespace or api.namespace)
        kind = self._clusters.known(cluster, made.kind)
        allowed = self._clusters.settings.namespaces
        if allowed is not None and made.namespace not in allowed:
            raise LaunchError(
                f"the agent does not use the namespace {made.namespace}",
                reason=Reason.CONFIG_ERROR,
                hint=f"it may use {', '.join(allowed)}: mend the queue, or plugins.kubernetes.namespaces",
            )
        place = Place(cluster=cluster, namespace=made.namespace, kind=kind)
        return attrs.evolve(made, kind=kind), place

    def start(self, plan: RunPlan, given: Given) -> tuple[RunHandle, dict[str, Any]]:
        """The handle of what was started or found, and the object.

        :raises LaunchError: nothing was started, or it has been stopped again.
        """
        check_wanted(plan)
        try:
            made, place = self.bundle(plan, given)
        except (ApiError, ApiAway) as error:
            raise away(error) from None
        api = self._clusters.api(place.cluster)
        self._book.add(place)
        self._expect(plan.attempt_id, place)
        main = self._main(plan, place, self._prepared(place, made), api)
        try:
            for companion in (*made.before, *made.beside):
                self._companion(plan, place, companion, main, api)
            check_wanted(plan)
            if is_held(main):
                main = let_go(api, place.path(main["metadata"]["name"]), _until(plan))
        except LaunchError:
            self._undo(place, main)
            raise
        except ApiError as error:
            self._undo(place, main)
            if error.missing:
                raise LaunchError(
                    f"{plan.attempt_id} was given up while it started", reason=Reason.LOST
                ) from None
            raise refused(error, f"start of {plan.name}") from None
        except ApiAway as error:
            if is_held(main):
                # Held it cannot run. If the answer to the last step was lost, those who poll see to it.
                return handle_of(place, main), main
            self._undo(place, main)
            raise away(error) from None
        return handle_of(place, main), main

    # -- parts -----------------------------------------------------------------------------------

    def _prepared(self, place: Place, made: Bundle) -> dict[str, Any]:
        companions = (*made.before, *made.beside)
        if not companions:
            return made.main
        meta, spec = made.main["metadata"], made.main.get("spec") or {}
        ours = "suspend" not in spec and KUEUE not in (meta.get("labels") or {})
        if (place.kind.group, place.kind.kind) == ("batch", "Job") and ours:
            noted = {**(meta.get("annotations") or {}), HELD: "true"}
            spec = {**spec, "suspend": True}
        else:
            paths = [self._path(place, each, named=True) for each in made.before]
            noted = {**(meta.get("annotations") or {}), COMPANIONS: " ".join(paths)}
        return {**made.main, "metadata": {**meta, "annotations": noted}, "spec": spec}

    def _main(self, plan: RunPlan, place: Place, manifest: dict[str, Any], api: Api) -> dict[str, Any]:
        what = f"{place.kind.kind} {manifest['metadata']['name']}"
        until = _until(plan)
        while True:
            check_wanted(plan)
            try:
                main = api.request("POST", place.path(), body=manifest, until=until, tries=3)
            except ApiError as error:
                if error.conflict:
                    main = self._existing(plan, place, manifest, api)
                    if main is not None:
                        return main
                    time.sleep(LITTLE)
                    continue
                raise refused(error, what) from None
            except ApiAway as error:
                if not error.sent or time.monotonic() >= until:
                    raise away(error) from None
                # It may have been carried out: only an answer says.
                time.sleep(LITTLE)
                continue
            if not _wanted(plan):
                self._undo(place, main)
                check_wanted(plan)
            return {**main, "apiVersion": place.kind.api_version, "kind": place.kind.kind}

    def _existing(
        self, plan: RunPlan, place: Place, manifest: dict[str, Any], api: Api
    ) -> dict[str, Any] | None:
        """An earlier or simultaneous start's object, or a stranger's. ``None``: it has gone meanwhile."""
        name = manifest["metadata"]["name"]
        try:
            main: dict[str, Any] = api.get(place.path(name))
        except ApiError as error:
            if error.missing:
                return None
            raise refused(error, name) from None
        except ApiAway as error:
            raise away(error) from None
        has = main["metadata"].get("labels") or {}
        ours = manifest["metadata"]["labels"]
        if any(has.get(label) != ours[label] for label in (OWNER, ATTEMPT)):
            raise LaunchError(
                f"a {place.kind.kind} called {name} is there, and it is not this attempt's",
                hint=f"see what it is, and remove it: "
                f"`kubectl -n {place.namespace} get {place.kind.plural} {name}`",
            )
        if main["metadata"].get("deletionTimestamp"):
            raise LaunchError(f"{plan.attempt_id} was given up; it is being removed", reason=Reason.LOST)
        return main

    def _companion(
        self, plan: RunPlan, place: Place, manifest: dict[str, Any], main: dict[str, Any], api: Api
    ) -> None:
        what = f"{manifest['kind']} {manifest['metadata']['name']}"
        try:
            body = owned_by(manifest, main)
            api.request("POST", self._path(place, manifest), body=body, until=_until(plan))
        except ApiError as error:
            if not error.conflict:
                raise refused(error, what) from None
            if not self._is_ours(place, manifest, api):
                raise LaunchError(
                    f"a {what} is there, and it is not this attempt's",
                    hint="see whose it is, and remove it",
                ) from None

    def _is_ours(self, place: Place, manifest: dict[str, Any], api: Api) -> bool:
        try:
            there = api.get(self._path(place, manifest, named=True))
        except ApiError as error:
            # An agent need not be able to read Secrets. The name is this attempt's, and nobody else's.
            return error.code in (403, 404)
        mine: str = manifest["metadata"]["labels"][ATTEMPT]
        return bool((there["metadata"].get("labels") or {}).get(ATTEMPT) == mine)

    def _path(self, place: Place, manifest: Mapping[str, Any], *, named: bool = False) -> str:
        kind = self._clusters.kind(place.cluster, manifest)
        return path_of(kind, place.namespace, manifest["metadata"]["name"] if named else None)

    def _undo(self, place: Place, main: Mapping[str, Any]) -> None:
        meta = main["metadata"]
        try:
            self._ender.remove(place, str(meta["name"]), str(meta["uid"]), verify=not is_held(main))
        except (ApiError, ApiAway) as error:
            raise away(error) from None


def check_wanted(plan: RunPlan) -> None:
    """:raises LaunchError: ``lost``: it is too late to start this attempt."""
    if not _wanted(plan):
        raise LaunchError(
            f"the cluster was too slow: {plan.attempt_id} could not start within its lease",
            reason=Reason.LOST,
            retryable=True,
        )


def _wanted(plan: RunPlan) -> bool:
    return plan.start_before is None or time.time() < plan.start_before


def _until(plan: RunPlan) -> float:
    """Until when unclear requests are repeated, monotonic seconds."""
    left = UNCLEAR if plan.start_before is None else plan.start_before - time.time()
    return time.monotonic() + max(left, 0.0)
