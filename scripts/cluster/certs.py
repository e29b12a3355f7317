"""The cluster's own certificate authority, made with openssl. Certificates of a few days."""

from __future__ import annotations

import base64
import json
import subprocess
from collections.abc import Sequence
from pathlib import Path

DAYS = "30"


class Authority:
    """Keys and certificates in one directory."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def make(self, names: Sequence[str]) -> None:
        """The authority, the API server's certificate for these names, and the key of service accounts.

        :param names: of the API server, as ``DNS:…`` and ``IP:…``.
        """
        self.root.mkdir(parents=True)
        self._key("ca")
        self._openssl(
            *("req", "-x509", "-new", "-key", "ca.key", "-out", "ca.crt", "-days", DAYS),
            *("-subj", "/CN=launchcore-cluster", "-addext", "keyUsage=critical,keyCertSign,digitalSignature"),
        )
        self.certificate("api", "/CN=kube-apiserver", f"serverAuth\nsubjectAltName={','.join(names)}")
        self._key("accounts")
        self._openssl("pkey", "-in", "accounts.key", "-pubout", "-out", "accounts.pub")

    def certificate(self, name: str, subject: str, usage: str = "clientAuth") -> None:
        """``NAME.key`` and ``NAME.crt``. ``subject`` is ``/O=GROUP/CN=USER``."""
        self._key(name)
        extensions = self.root / f"{name}.ext"
        extensions.write_text(f"basicConstraints=CA:FALSE\nextendedKeyUsage={usage}\n")
        self._openssl("req", "-new", "-key", f"{name}.key", "-subj", subject, "-out", f"{name}.csr")
        self._openssl(
            *("x509", "-req", "-in", f"{name}.csr", "-CA", "ca.crt", "-CAkey", "ca.key", "-CAcreateserial"),
            *("-days", DAYS, "-extfile", extensions.name, "-out", f"{name}.crt"),
        )

    def kubeconfig(self, path: Path, server: str, name: str) -> None:
        """Write a kubeconfig that is complete in itself."""
        cluster = {"server": server, "certificate-authority-data": self._data("ca.crt")}
        user = {
            "client-certificate-data": self._data(f"{name}.crt"),
            "client-key-data": self._data(f"{name}.key"),
        }
        context = {"cluster": "launchcore", "user": name, "namespace": "default"}
        config = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "launchcore", "cluster": cluster}],
            "users": [{"name": name, "user": user}],
            "contexts": [{"name": "launchcore", "context": context}],
            "current-context": "launchcore",
        }
        path.touch(mode=0o600)
        path.write_text(json.dumps(config, indent=2))

    def _key(self, name: str) -> None:
        self._openssl(
            *("genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out", f"{name}.key")
        )

    def _data(self, name: str) -> str:
        return base64.b64encode((self.root / name).read_bytes()).decode()

    def _openssl(self, *args: str) -> None:
        done = subprocess.run(["openssl", *args], cwd=self.root, capture_output=True, text=True, check=False)
        if done.returncode:
            raise RuntimeError(f"openssl {' '.join(args)}: {done.stderr.strip()[-500:]}")
