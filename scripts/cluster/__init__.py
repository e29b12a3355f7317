"""A real single-node Kubernetes cluster on a bare machine: ``make cluster-up``, ``make cluster-down``.

Everything of it lives in namespaces of its own (processes, mounts, network), so that nothing on the machine
is changed and one ``kill`` of the process that holds the namespaces removes all of it. The programs are built
once by ``scripts/cluster/build``; etcd, containerd, runc and the network plugins are Debian's.
"""

from __future__ import annotations

from scripts.cluster.cluster import Cluster, built, default_root, missing

__all__ = ["Cluster", "built", "default_root", "missing"]
