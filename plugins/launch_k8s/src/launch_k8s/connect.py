"""Which cluster, and as whom: everything that is taken from the `kubernetes` package."""

from __future__ import annotations

import os
import ssl
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import attrs

from launch_k8s.errors import one_line
from launch_k8s.settings import Cluster, ClusterSettings
from launchcore.plugin import Fault, LaunchError, Reason

POD_ACCOUNT: Final = Path("/var/run/secrets/kubernetes.io/serviceaccount")
DEFAULT_FILE: Final = "~/.kube/config"


@attrs.frozen(kw_only=True)
class Where:
    """The credentials that were chosen. ``file`` is ``None`` for the pod's own service account."""

    file: str | None
    context: str | None
    namespace: str | None

    def __str__(self) -> str:
        if self.file is None:
            return "the pod's own service account"
        return f"{self.file} (context {self.context})" if self.context else self.file


def choose(settings: ClusterSettings, name: str | None, environ: Mapping[str, str]) -> Where:
    """The credentials for the cluster called ``name``; ``None``: the agent's own.

    :raises LaunchError: ``config_error``: there is no such cluster.
    """
    if name is not None and name not in settings.clusters:
        known = ", ".join(sorted(settings.clusters)) or "none"
        raise LaunchError(
            f"no cluster is called {name[:80]!r} (known: {known})",
            reason=Reason.CONFIG_ERROR,
            hint="add it to plugins.kubernetes.clusters of the agent, or mend the queue's `cluster`",
        )
    one = settings.clusters[name] if name is not None else Cluster()
    file = one.kubeconfig or settings.kubeconfig
    context = one.context or settings.context
    namespace = one.namespace or settings.namespace
    in_pod = settings.in_cluster and one.kubeconfig is None
    if settings.in_cluster is None and file is None and not environ.get("KUBECONFIG"):
        in_pod = not Path(DEFAULT_FILE).expanduser().exists() and (POD_ACCOUNT / "token").exists()
    if in_pod:
        return Where(file=None, context=None, namespace=namespace)
    file = file or environ.get("KUBECONFIG") or DEFAULT_FILE
    expanded = os.pathsep.join(str(Path(each).expanduser()) for each in file.split(os.pathsep) if each)
    return Where(file=expanded, context=context, namespace=namespace)


def load_sdk() -> None:
    """Import it. For who makes a component: the core does that for one at a time.

    Two threads that import the SDK and another package of `requests` at the same moment may each find the
    other's modules half made.
    """
    from kubernetes import client, config

    del client, config


class Connection:
    """The SDK's client for one cluster: its addresses, certificates, tokens and their renewal."""

    def __init__(self, where: Where, *, connections: int) -> None:
        self.where = where
        self._connections = connections
        self._lock = threading.Lock()
        self._client: Any = None
        self._namespace: str | None = None

    @property
    def namespace(self) -> str:
        """The namespace of who names none."""
        self.client()
        return self.where.namespace or self._namespace or "default"

    def client(self) -> Any:
        """The SDK's ApiClient, made when it is first needed.

        :raises LaunchError: ``config_error``: there are no usable credentials.
        """
        with self._lock:
            if self._client is None:
                self._client = self._make()
            return self._client

    def renew(self, old: Any) -> None:
        """Read the credentials again: ``old`` was refused with them."""
        with self._lock:
            if self._client is old:
                self._client = None

    def auth(self, client: Any) -> dict[str, str]:
        """The header that says who we are; a token that is about to expire is renewed before."""
        with self._lock:
            found: dict[str, str] = {}
            for each in client.configuration.auth_settings().values():
                if each.get("in") == "header" and each.get("value"):
                    found[str(each["key"])] = str(each["value"])
            return found

    def _make(self) -> Any:
        from kubernetes import client
        from kubernetes import config as untyped

        config: Any = untyped
        chosen = client.Configuration()
        chosen.connection_pool_maxsize = self._connections
        chosen.retries = False
        try:
            if self.where.file is None:
                config.load_incluster_config(client_configuration=chosen)
                self._namespace = (POD_ACCOUNT / "namespace").read_text().strip() or None
            else:
                file, context = self.where.file, self.where.context
                config.load_kube_config(
                    config_file=file,
                    context=context,
                    client_configuration=chosen,
                    persist_config=False,
                )
                contexts, active = config.list_kube_config_contexts(config_file=file)
                used = next((each for each in contexts if each["name"] == context), active)
                self._namespace = (used.get("context") or {}).get("namespace")
            made = client.ApiClient(chosen)
            share_tls(made.rest_client.pool_manager, verify=bool(chosen.verify_ssl))
        except Exception as error:
            # The SDK raises whatever its parts raise: ConfigException, TypeError, yaml's, OSError …
            raise LaunchError(
                f"no usable credentials in {self.where}: {one_line(str(error), 200)}",
                reason=Reason.CONFIG_ERROR,
                fault=Fault.INFRASTRUCTURE,
                hint="set plugins.kubernetes.kubeconfig or KUBECONFIG, or run the agent in the cluster",
            ) from None
        return made


def share_tls(manager: Any, *, verify: bool) -> None:
    """One TLS context for all connections of a pool manager. Without it each makes its own: it reads and
    keeps the certificates once more, for every log that is followed."""
    from urllib3.util.ssl_ import create_urllib3_context

    if manager.proxy is not None and manager.proxy.scheme == "https":
        return  # the same files are the proxy's, too
    options: dict[str, Any] = manager.connection_pool_kw
    context = create_urllib3_context(cert_reqs=ssl.CERT_REQUIRED if verify else ssl.CERT_NONE)
    file, data = options.pop("ca_certs", None), options.pop("ca_cert_data", None)
    if file or data:
        context.load_verify_locations(cafile=file, cadata=data)
    else:
        context.load_default_certs()
    certificate, key = options.pop("cert_file", None), options.pop("key_file", None)
    if certificate:
        context.load_cert_chain(certificate, key)
    options["ssl_context"] = context
