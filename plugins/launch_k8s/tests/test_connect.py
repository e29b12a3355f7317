"""TLS of a cluster's connections."""

from __future__ import annotations

import ssl
from typing import Any

import pytest
import urllib3
from launch_k8s.connect import share_tls

from scripts.cluster.certs import Authority


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    made = Authority(tmp_path_factory.mktemp("tls") / "pki")
    made.make(["IP:127.0.0.1"])
    made.certificate("user", "/CN=user")
    return made


def test_all_connections_have_one_context(authority: Authority) -> None:
    """It trusts the cluster's authority, and no other, and has the user's certificate."""
    root = authority.root
    manager = urllib3.PoolManager(
        cert_reqs=ssl.CERT_REQUIRED,
        ca_certs=str(root / "ca.crt"),
        cert_file=str(root / "user.crt"),
        key_file=str(root / "user.key"),
    )

    share_tls(manager, verify=True)
    pool = manager.connection_from_url("https://127.0.0.1:6443")
    first: Any = pool._new_conn()
    second: Any = pool._new_conn()

    assert first.ssl_context is second.ssl_context is not None
    assert first.ca_certs is None
    context = first.ssl_context
    assert context.verify_mode is ssl.CERT_REQUIRED
    assert context.check_hostname
    assert [dict(each[0] for each in one["subject"])["commonName"] for one in context.get_ca_certs()] == [
        "launchcore-cluster"
    ]


def test_a_cluster_that_is_not_verified() -> None:
    manager = urllib3.PoolManager(cert_reqs=ssl.CERT_NONE)

    share_tls(manager, verify=False)
    context = manager.connection_pool_kw["ssl_context"]

    assert context.verify_mode is ssl.CERT_NONE
    assert not context.check_hostname


def test_a_proxy_that_is_spoken_to_by_tls_keeps_its_files(authority: Authority) -> None:
    manager = urllib3.ProxyManager("https://proxy.invalid:3128", ca_certs=str(authority.root / "ca.crt"))

    share_tls(manager, verify=True)

    assert "ssl_context" not in manager.connection_pool_kw
