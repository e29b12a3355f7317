"""The command lines of the cluster's programs. Pure."""

from __future__ import annotations

from pathlib import Path

from scripts.cluster.configs import NODE, SERVICES

ETCD = "http://127.0.0.1:2379"
"""Reached only from inside the namespace; pods have networks of their own."""


def commands(root: Path, binaries: Path, address: str) -> dict[str, list[str]]:
    """By name, in the order in which they are started.

    :param address: of the node, where the API server listens, too.
    """
    pki = f"{root}/pki"
    return {
        "etcd": [
            *("etcd", f"--data-dir={root}/etcd", f"--listen-client-urls={ETCD}"),
            *(f"--advertise-client-urls={ETCD}", "--listen-peer-urls=http://127.0.0.1:2380"),
            *("--snapshot-count=20000", "--log-level=warn", "--logger=zap"),
        ],
        "containerd": ["containerd", "--config", f"{root}/containerd.toml"],
        "kube-apiserver": [
            *(f"{binaries}/kube-apiserver", f"--etcd-servers={ETCD}"),
            *(f"--bind-address={address}", f"--advertise-address={address}", "--secure-port=6443"),
            *(f"--service-cluster-ip-range={SERVICES}", "--authorization-mode=Node,RBAC"),
            *(f"--client-ca-file={pki}/ca.crt", "--allow-privileged=true"),
            *(f"--tls-cert-file={pki}/api.crt", f"--tls-private-key-file={pki}/api.key"),
            *(f"--kubelet-client-certificate={pki}/admin.crt", f"--kubelet-client-key={pki}/admin.key"),
            "--kubelet-preferred-address-types=InternalIP",
            "--service-account-issuer=https://kubernetes.default.svc",
            f"--service-account-key-file={pki}/accounts.pub",
            f"--service-account-signing-key-file={pki}/accounts.key",
            *(f"--audit-policy-file={root}/audit.yaml", f"--audit-log-path={root}/audit.log"),
            *("--enable-admission-plugins=NodeRestriction", "--profiling=false"),
        ],
        "kube-controller-manager": [
            *(f"{binaries}/kube-controller-manager", f"--kubeconfig={root}/controllers.kubeconfig"),
            *("--use-service-account-credentials=true", f"--root-ca-file={pki}/ca.crt"),
            *(f"--service-account-private-key-file={pki}/accounts.key", "--leader-elect=false"),
            *("--secure-port=0", "--profiling=false"),
        ],
        "kube-scheduler": [
            *(f"{binaries}/kube-scheduler", f"--kubeconfig={root}/scheduler.kubeconfig"),
            *("--leader-elect=false", "--secure-port=0", "--profiling=false"),
        ],
        "kubelet": [
            *(f"{binaries}/kubelet", f"--config={root}/kubelet.yaml", f"--root-dir={root}/kubelet"),
            *(f"--kubeconfig={root}/kubelet.kubeconfig", f"--cert-dir={root}/kubelet/pki"),
            *(f"--hostname-override={NODE}", f"--node-ip={address}"),
        ],
    }
