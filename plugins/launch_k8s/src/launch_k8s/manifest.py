"""Plan, contributions and the queue's configuration → what is created in the cluster. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

import attrs
import msgspec

from launch_k8s import names
from launch_k8s.kinds import KindInfo, rules_text
from launch_k8s.manifest_kinds import fill_kind, pod_deadline
from launch_k8s.manifest_objects import first, further_objects, rename, variables
from launch_k8s.manifest_pod import Order, fill_pod, main_container, merge_labels
from launch_k8s.manifest_secrets import secret_parts
from launch_k8s.refusal import refused, refused_run
from launch_k8s.security import check, secure
from launch_k8s.settings import ClusterSettings, RunConfig
from launch_k8s.template import Template, default_container, pod_templates, template
from launchcore.plugin import REDACTED, Given, LaunchError, Reason, RunPlan

MAX_BYTES: Final = 1024 * 1024
"""etcd takes no request larger than 1.5 MiB, and the API server adds to what it is given."""
MAX_ANNOTATIONS: Final = 200 * 1024
_SERVERS: Final = ("uid", "resourceVersion", "generation", "creationTimestamp", "managedFields", "selfLink")


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

    def everything(self) -> tuple[dict[str, Any], ...]:
        """All manifests, those first that others need."""
        return (*self.before, *self.beside, self.main)


def render(plan: RunPlan, given: Given, config: RunConfig, settings: ClusterSettings) -> Bundle:
    """Everything that is created for this attempt.

    ``namespace`` is empty when neither the queue nor the agent's settings name one: the caller fills in
    the context's own, with :func:`in_namespace`.

    :raises LaunchError: ``config_error``: what cannot be, and who can mend it.
    """
    if plan.image is None:
        raise LaunchError("a run on a cluster needs an image", reason=Reason.CONFIG_ERROR)
    if any("${" in text for text in (str(plan.image), plan.name)):
        raise LaunchError("the image has a macro in its name", reason=Reason.CONFIG_ERROR)
    base = template(config)
    namespace = _namespace(base.manifest, config, settings)
    objects, renamed = further_objects(config.objects, plan.attempt_id)
    secrets = secret_parts(plan, given, config)
    if renamed:
        base.manifest["spec"] = rename(base.manifest.get("spec") or {}, renamed)
        base = attrs.evolve(base, pods=_found_again(base))
    labels = _labels(plan, given, config)
    _clean(base.manifest, "the queue's manifest")
    merge_labels(base.manifest, "labels", labels)
    merge_labels(base.manifest, "annotations", config.annotations)
    order = Order(
        plan=plan,
        given=given,
        config=config,
        secrets=secrets,
        objects=variables(renamed),
        deadline=pod_deadline(plan, config),
    )
    main_name = _fill_pods(base, order, labels)
    fill_kind(base, order)
    merge_labels(base.manifest, "annotations", _own_annotations(plan, config, base.kind, main_name))
    main = _headed(base.manifest, names.object_name(plan.attempt_id), namespace)
    before = [*secrets.objects, *(each for each in objects if first(each))]
    beside = [each for each in objects if not first(each)]
    for each in (*before, *beside):
        _place(each, labels, namespace, config)
    _check_size(main, plan)
    return Bundle(
        main=main,
        before=tuple(before),
        beside=tuple(beside),
        namespace=namespace,
        kind=base.kind,
        main_container=main_name,
    )


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


def owned_by(manifest: dict[str, Any], main: Mapping[str, Any]) -> dict[str, Any]:
    """``manifest`` as a dependent of ``main`` (as the API server returned it): deleted with it."""
    owner = {
        "apiVersion": main["apiVersion"],
        "kind": main["kind"],
        "name": main["metadata"]["name"],
        "uid": main["metadata"]["uid"],
        "blockOwnerDeletion": False,
    }
    return {**manifest, "metadata": {**manifest["metadata"], "ownerReferences": [owner]}}


def redacted(manifest: Mapping[str, Any]) -> dict[str, Any]:
    """A manifest for people: what a Secret holds is named, not shown."""
    found = dict(manifest)
    if found.get("kind") == "Secret":
        for key in ("data", "stringData"):
            if isinstance(found.get(key), Mapping):
                found[key] = dict.fromkeys(found[key], REDACTED)
    return found


def _found_again(base: Template) -> tuple[Any, ...]:
    bodies = [body for _, body in pod_templates(base.manifest)]
    return tuple(attrs.evolve(pod, body=body) for pod, body in zip(base.pods, bodies, strict=True))


def _fill_pods(base: Template, order: Order, labels: Mapping[str, str]) -> str:
    """Fill every pod template; the name of the container whose end is the run's."""
    config = order.config
    found = config.main_container or default_container(base.kind)
    for pod in base.pods:
        main = main_container(pod, base.kind, config, str(order.plan.image))
        fill_pod(pod, main, order)
        merge_labels(pod.body, "labels", labels)
        merge_labels(pod.body, "annotations", config.annotations)
        if pod.main:
            found = str(main["name"])
    return found


def _labels(plan: RunPlan, given: Given, config: RunConfig) -> dict[str, str]:
    for key, value in config.labels.items():
        _check_label(key, value, "the queue's `labels`")
    for key in config.annotations:
        if names.reserved(key) or names.label_key_problem(key):
            raise refused(f"the queue's `annotations`: {key[:80]!r} is no key, or launchcore's own")
    found = dict(config.labels)
    for label in given.labels:
        wrong = names.label_key_problem(label.name)
        if wrong is None and names.reserved(label.name):
            wrong = "it is launchcore's own"
        if wrong is not None:
            if label.optional:
                continue
            raise LaunchError(
                f"the label {label.name[:80]!r} cannot be on a cluster: {wrong}",
                reason=Reason.PLUGIN_ERROR,
                hint=f"it comes from {given.origin.get(f'label:{label.name}', 'a plugin')}",
            )
        found[label.name] = names.label_value(label.value)
    return {**found, **names.labels(plan)}


def _own_annotations(plan: RunPlan, config: RunConfig, kind: KindInfo, main: str) -> dict[str, str]:
    found = {names.MAIN_CONTAINER: main}
    if plan.limits.run_seconds is not None:
        found[names.RUN_SECONDS] = f"{plan.limits.run_seconds:g}"
    if config.unschedulable_seconds is not None:
        found[names.UNSCHEDULABLE_SECONDS] = f"{config.unschedulable_seconds:g}"
    if text := rules_text(kind):
        found[names.KIND_RULES] = text
    return found


def _namespace(manifest: Mapping[str, Any], config: RunConfig, settings: ClusterSettings) -> str:
    metadata = manifest.get("metadata")
    own = metadata.get("namespace") if isinstance(metadata, Mapping) else None
    if config.cluster is not None and config.cluster not in settings.clusters:
        known = ", ".join(sorted(settings.clusters)) or "none"
        raise refused(
            f"the queue's cluster {config.cluster[:60]!r} is none of the agent's (there are: {known})",
            "name it in the agent's `plugins.kubernetes.clusters`, or serve the queue with another agent",
        )
    if own is not None and config.namespace is not None and own != config.namespace:
        raise refused(f"the queue names two namespaces: {config.namespace} and {str(own)[:63]!r}")
    cluster = settings.clusters[config.cluster].namespace if config.cluster is not None else None
    allowed = settings.namespaces
    default = allowed[0] if allowed else ""
    return check_namespace(config.namespace or own or cluster or settings.namespace or default, settings)


def check_namespace(namespace: Any, settings: ClusterSettings) -> str:
    """The namespace, if queues may use it.

    :raises LaunchError: ``config_error``: it is no name, or none of the agent's ``namespaces``.
    """
    if not isinstance(namespace, str) or (
        namespace and names.dns_label(f"n{namespace}", 64) != f"n{namespace}"
    ):
        raise refused(f"{str(namespace)[:80]!r} is no name of a namespace")
    if settings.namespaces is not None and namespace not in settings.namespaces:
        raise refused(
            f"the agent does not run anything in the namespace {namespace!r}",
            f"its `plugins.kubernetes.namespaces` are: {', '.join(settings.namespaces) or 'none'}",
        )
    return namespace


def _place(one: dict[str, Any], labels: Mapping[str, str], namespace: str, config: RunConfig) -> None:
    """Finish one of the objects beside the main one, in place."""
    at = f"the {one['kind']} {one['metadata'].get('name', '')[:60]!r}"
    if one["metadata"].get("namespace") not in (None, namespace):
        raise refused(f"{at} is to be in another namespace than the run")
    _clean(one, at)
    merge_labels(one, "labels", labels)
    for path, pod in pod_templates(one):
        pod["spec"].setdefault("automountServiceAccountToken", config.service_account_token)
        secure(pod["spec"], config)
        check(pod["spec"], config, f"{at}: {path}")
        merge_labels(pod, "labels", labels)
    one.update(_headed(one, one["metadata"]["name"], namespace))


def _headed(manifest: dict[str, Any], name: str, namespace: str) -> dict[str, Any]:
    metadata = {"name": name, **({"namespace": namespace} if namespace else {})}
    rest = {key: value for key, value in manifest["metadata"].items() if key not in ("name", "namespace")}
    order = {"apiVersion": manifest["apiVersion"], "kind": manifest["kind"], "metadata": {**metadata, **rest}}
    return {**order, **{key: value for key, value in manifest.items() if key not in order}}


def _clean(manifest: dict[str, Any], at: str) -> None:
    """Take out what is the server's to say, and refuse what would get in the way of others, in place."""
    manifest.pop("status", None)
    for metadata in _metadata_of(manifest, 0):
        for key in ("generateName", *_SERVERS):
            metadata.pop(key, None)
        for key in ("finalizers", "ownerReferences"):
            if metadata.pop(key, None):
                raise refused(f"{at}: `{key}` cannot be set: the run could not be removed any more")
        for kind in ("labels", "annotations"):
            values = metadata.get(kind)
            if values is None:
                metadata.pop(kind, None)
            elif not isinstance(values, dict):
                raise refused(f"{at}: `{kind}` must be a mapping")
            else:
                _check_metadata(kind, values, at)


def _check_metadata(kind: str, values: Mapping[str, Any], at: str) -> None:
    for key, value in values.items():
        if kind == "labels":
            _check_label(key, value, at)
        elif names.reserved(key):
            raise refused(f"{at}: the annotation {key[:80]!r} is launchcore's own")
        elif not isinstance(value, str):
            raise refused(f"{at}: the annotation {key[:80]!r} is not text; put it in quotes")
    if kind == "annotations" and sum(len(k) + len(v) for k, v in values.items()) > MAX_ANNOTATIONS:
        raise refused(f"{at}: the annotations are larger than {MAX_ANNOTATIONS // 1024} KiB")


def _check_label(key: str, value: Any, at: str) -> None:
    if names.reserved(key):
        raise refused(f"{at}: the label {key[:80]!r} is launchcore's own")
    wrong = names.label_key_problem(key) or names.label_value_problem(value)
    if wrong:
        raise refused(f"{at}: the label {key[:80]!r}: {str(value)[:40]!r}: {wrong}")


def _metadata_of(value: Any, depth: int) -> Iterator[dict[str, Any]]:
    """Every ``metadata`` in a manifest: the object's, its templates', theirs."""
    if isinstance(value, dict):
        metadata = value.get("metadata")
        if isinstance(metadata, dict):
            yield metadata
        if depth < 40:
            for inner in value.values():
                yield from _metadata_of(inner, depth + 1)
    elif isinstance(value, list):
        for inner in value:
            yield from _metadata_of(inner, depth + 1)


def _check_size(main: Mapping[str, Any], plan: RunPlan) -> None:
    size = len(msgspec.json.encode(main))
    if size <= MAX_BYTES:
        return
    text = f"what would be created is {size // 1024} KiB large, and a cluster takes {MAX_BYTES // 1024} KiB"
    said = sum(len(word) for word in (*plan.command, *plan.env, *plan.env.values()))
    if said > MAX_BYTES // 2:
        raise refused_run(
            f"{text}: the command and the variables alone have {said // 1024} KiB", "put it in a file"
        )
    raise refused(text)
