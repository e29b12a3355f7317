"""What `launch doctor` says about Kubernetes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from launch_k8s.checks import RULES, access, checks, nearly_used, permissions, quota
from launch_k8s.clusters import Clusters
from launch_k8s.settings import ClusterSettings
from launch_k8s.testing.scripted import Bench

from launchcore.plugin import CheckVerdict


def test_a_cluster_that_answers(bench: Bench) -> None:
    found = access(bench.runner.clusters)
    assert found.verdict is CheckVerdict.OK
    assert bench.server.url in found.detail
    assert "namespace default" in found.detail


def test_a_cluster_that_is_away_is_a_warning(bench: Bench) -> None:
    bench.server.stop()
    found = access(bench.runner.clusters)
    assert found.verdict is CheckVerdict.WARNING
    assert permissions(bench.runner.clusters).verdict is CheckVerdict.SKIPPED
    assert quota(bench.runner.clusters).verdict is CheckVerdict.SKIPPED


def test_no_cluster_at_all_is_skipped(tmp_path: Path) -> None:
    clusters = Clusters(ClusterSettings(kubeconfig=str(tmp_path / "nowhere")), {})
    assert access(clusters).verdict is CheckVerdict.SKIPPED


def test_refused_credentials_are_a_failure(bench: Bench) -> None:
    bench.server.faults.add("GET", "/version", times=9, code=403)
    assert access(bench.runner.clusters).verdict is CheckVerdict.FAILED


def test_all_permissions(bench: Bench) -> None:
    assert permissions(bench.runner.clusters).verdict is CheckVerdict.OK


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.things)
def test_a_missing_permission_is_named_with_the_line_to_add(bench: Bench, rule: Any) -> None:
    bench.server.denied.add((rule.verbs[-1], rule.things))
    found = permissions(bench.runner.clusters)
    assert found.verdict is CheckVerdict.FAILED
    line = f'apiGroups: ["{rule.group}"], resources: ["{rule.things}"], verbs: [{rule.verbs[-1]}]'
    assert line in (found.hint or "")


def test_quotas(bench: Bench) -> None:
    bench.server.store.kinds["v1"]["resourcequotas"] = "ResourceQuota"
    assert quota(bench.runner.clusters).detail == "no quotas"
    item = {
        "metadata": {"name": "q"},
        "status": {"hard": {"cpu": "10", "pods": "4"}, "used": {"cpu": "9500m"}},
    }
    bench.server.store.create("resourcequotas", "default", item)
    bench.server.store.patch("resourcequotas", "default", "q", {"status": item["status"]})
    found = quota(bench.runner.clusters)
    assert found.verdict is CheckVerdict.WARNING
    assert found.detail == "default: 9500m of 10 cpu used"


def test_odd_quotas_are_passed_over() -> None:
    assert nearly_used({"status": {"hard": {"cpu": "many"}}}) == []
    assert nearly_used({}) == []


def test_the_checks_have_names() -> None:
    assert [check.name for check in checks(ClusterSettings())] == [
        "kubernetes",
        "kubernetes permissions",
        "kubernetes quota",
    ]
