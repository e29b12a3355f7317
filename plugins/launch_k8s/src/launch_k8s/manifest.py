"""Plan, contributions and the queue's configuration → what is created in the cluster. Pure."""

from __future__ import annotations

from typing import Any

import attrs

from launch_k8s.kinds import KindInfo
from launch_k8s.settings import ClusterSettings, RunConfig
from launchcore.plugin import Given, RunPlan


@attrs.frozen(kw_only=True)
class Bundle:
    """What is created for one attempt. Plain manifests, ready to be posted.

    ``before``: objects that the pods need (Secrets, ConfigMaps). Pods wait for them, so they may as well
    be created just after ``main``, with its uid: see :func:`owned_by`. ``beside``: everything else.
    """

    main: dict[str, Any]
    before: tuple[dict[str, Any], ...] = ()
    beside: tuple[dict[str, Any], ...] = ()
    namespace: str
    kind: KindInfo
    main_container: str


def render(plan: RunPlan, given: Given, config: RunConfig, settings: ClusterSettings) -> Bundle:
    """Everything that is created for this attempt.

    ``namespace`` is empty when neither the queue nor the agent's settings name one: the caller fills in
    the context's own, with :func:`in_namespace`.

    :raises LaunchError: ``config_error``: what cannot be, and who can mend it.
    """
    raise NotImplementedError


def in_namespace(bundle: Bundle, namespace: str) -> Bundle:
    """The same bundle, in a namespace."""

    def placed(manifest: dict[str, Any]) -> dict[str, Any]:
        return {**manifest, "metadata": {**manifest["metadata"], "namespace": namespace}}

    return attrs.evolve(
        bundle,
        main=placed(bundle.main),
        before=tuple(map(placed, bundle.before)),
        beside=tuple(map(placed, bundle.beside)),
        namespace=namespace,
    )


def owned_by(manifest: dict[str, Any], main: dict[str, Any]) -> dict[str, Any]:
    """``manifest`` as a dependent of ``main`` (as the API server returned it): deleted with it."""
    owner = {
        "apiVersion": main["apiVersion"],
        "kind": main["kind"],
        "name": main["metadata"]["name"],
        "uid": main["metadata"]["uid"],
        "blockOwnerDeletion": False,
    }
    return {**manifest, "metadata": {**manifest["metadata"], "ownerReferences": [owner]}}
