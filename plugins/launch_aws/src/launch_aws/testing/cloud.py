"""moto as a process that speaks AWS's protocols over HTTP. A model of AWS, not AWS.

It needs the distributions ``moto[server]``, ``flask`` and ``flask-cors``.
"""

from __future__ import annotations

import hashlib
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path
from typing import Any, Final

from launch_aws.repositories import MEDIA_TYPES

KEY_ID: Final = "AKIACANARYKEYID00001"
CANARY: Final = "canary+secret/key+of+the+agent+0123456789"
"""The secret key of ``KEY_ID``."""
REGION: Final = "us-east-1"
ACCOUNT: Final = "123456789012"
"""The account of everybody whom moto does not know."""
OTHER_ACCOUNT: Final = "210987654321"
PASSWORD: Final = f"{ACCOUNT}-auth-token"
"""What moto gives as the password of a registry; its tokens have expired in 2015."""


class Cloud:
    """One server. After :meth:`lock` it asks for keys, signatures and policies, as IAM does."""

    def __init__(self) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = int(free.getsockname()[1])
        self.url = f"http://127.0.0.1:{self.port}"
        self.root = Path(tempfile.mkdtemp(prefix="lc-cloud-"))
        self.process: subprocess.Popen[bytes] | None = None

    def start(self, seconds: float = 60.0) -> None:
        """Start it, and wait until it answers."""
        with (self.root / "log").open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(self.port)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                env={**os.environ, "MOTO_IAM_LOAD_MANAGED_POLICIES": "false"},
            )
        until = time.monotonic() + seconds
        while not self._answers():
            assert self.process.poll() is None, self.log()[-3000:]
            assert time.monotonic() < until, f"moto does not answer after {seconds:g} s: {self.log()[-3000:]}"
            time.sleep(0.02)

    def close(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None
        (self.root / "log").unlink(missing_ok=True)
        self.root.rmdir()

    def log(self) -> str:
        """What it printed: a line for each request."""
        return (self.root / "log").read_text(errors="replace")

    def reset(self) -> None:
        """Forget everything."""
        self._post("/moto-api/reset", b"")

    def lock(self, locked: bool = True) -> None:
        """Ask for known keys, right signatures and policies from now on."""
        self._post("/moto-api/reset-auth", b"0" if locked else b"1e18")

    def client(self, service: str, region: str = REGION, **keys: str) -> Any:
        """A client of the test's own, with the keys of nobody in particular."""
        from botocore.session import Session

        with_it = {"aws_access_key_id": "test", "aws_secret_access_key": "test", **keys}
        return Session().create_client(service, region_name=region, endpoint_url=self.url, **with_it)

    def put_image(self, repository: str, tag: str, manifest: bytes, media_type: str = MEDIA_TYPES[1]) -> str:
        """What a push leaves in ECR. moto makes up digests; this is the manifest's."""
        digest = f"sha256:{hashlib.sha256(manifest).hexdigest()}"
        self.client("ecr").put_image(
            repositoryName=repository,
            imageManifest=manifest.decode(),
            imageManifestMediaType=media_type,
            imageTag=tag,
            imageDigest=digest,
        )
        return digest

    def user(self, name: str, *actions: str) -> dict[str, str]:
        """A user of IAM who may do that; the keys as a client takes them."""
        iam = self.client("iam")
        iam.create_user(UserName=name)
        if actions:
            allow = {"Effect": "Allow", "Action": [*actions], "Resource": "*"}
            policy = json.dumps({"Version": "2012-10-17", "Statement": [allow]})
            iam.put_user_policy(UserName=name, PolicyName="may", PolicyDocument=policy)
        made = iam.create_access_key(UserName=name)["AccessKey"]
        return {"aws_access_key_id": made["AccessKeyId"], "aws_secret_access_key": made["SecretAccessKey"]}

    def _answers(self) -> bool:
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{self.port}/moto-api/data.json", timeout=5).close()
        except OSError:
            return False
        return True

    def _post(self, path: str, body: bytes) -> None:
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.port}{path}", data=body, headers={"Content-Type": "text/plain"}
        )
        urllib.request.urlopen(request, timeout=30).close()  # noqa: S310  # the scheme stands above
