"""``launch queue render``: a run's manifests as text, and whether a cluster would take them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import yaml

from launch_k8s.helpers import pretended
from launch_k8s.manifest import Bundle, in_namespace, redacted, render
from launch_k8s.settings import ClusterSettings
from launch_k8s.template import pod_templates
from launchcore.plugin import Given, LaunchError, RunPlan

if TYPE_CHECKING:
    from launch_k8s.clusters import Clusters


class _Dumper(yaml.SafeDumper):
    """Every part is written out, as often as it occurs."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def documents(plan: RunPlan, given: Given, settings: ClusterSettings) -> tuple[str, ...]:
    """Everything that is created for a run, as YAML documents. What Secrets hold is named, not shown.

    :raises LaunchError: ``config_error``: it cannot be.
    """
    made = render(plan, pretended(given), plan.settings, settings)
    return tuple(
        yaml.dump(redacted(each), Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=110)
        for each in made.everything()
    )


def dry_run(plan: RunPlan, given: Given, settings: ClusterSettings) -> tuple[str, ...]:
    """What the cluster has against it: server-side dry runs, which create nothing.

    :raises LaunchError: there is no cluster, or it does not answer.
    """
    from launch_k8s.clusters import Clusters
    from launch_k8s.errors import ApiAway, ApiError, away

    clusters = Clusters(settings, os.environ)
    cluster = plan.settings.cluster
    made = render(plan, pretended(given), plan.settings, settings)
    api = clusters.api(cluster)
    made = in_namespace(made, made.namespace or api.namespace)
    try:
        api.get("/version")
        return tuple(_problems(clusters, cluster, made))
    except (ApiError, ApiAway) as error:
        raise away(error) from None


def _problems(clusters: Clusters, cluster: str | None, made: Bundle) -> Iterator[str]:
    from launch_k8s.errors import ApiError

    for manifest in (*made.everything(), *_pods(made)):
        named = f"{manifest['kind']} {manifest['metadata']['name']}"
        try:
            kind = clusters.kind(cluster, manifest)
            path = f"{_collection(made.namespace, kind.api_version, kind.plural, namespaced=kind.namespaced)}"
            clusters.api(cluster).request("POST", path, params={"dryRun": "All"}, body=manifest, tries=2)
        except LaunchError as error:
            yield f"{named}: {error.detail}"
        except ApiError as error:
            if error.code == 401 or error.passing:
                raise
            if not (manifest["kind"] == "Pod" and "cannot create resource" in error.message):
                yield f"{named}: {error.message}"


def _collection(namespace: str, api_version: str, plural: str, *, namespaced: bool) -> str:
    root = f"/apis/{api_version}" if "/" in api_version else f"/api/{api_version}"
    return f"{root}/namespaces/{namespace}/{plural}" if namespaced else f"{root}/{plural}"


def _pods(made: Bundle) -> Iterator[dict[str, Any]]:
    """A Job is taken whatever its pods are; what the cluster thinks of those, they are asked for."""
    if made.kind.kind != "Job" or made.kind.group != "batch":
        return
    for _, body in pod_templates(made.main):
        metadata = {**body["metadata"], "name": made.main["metadata"]["name"], "namespace": made.namespace}
        yield {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": body["spec"]}
