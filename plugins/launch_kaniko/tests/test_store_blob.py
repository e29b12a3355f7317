"""Contexts in an ``az://`` container, on the emulator Azurite (npm's ``azurite``) where there is one.

It is taken from ``LAUNCHCORE_TEST_AZURITE``, the path of ``azurite-blob``, or from PATH.
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import hmac
import os
import random
import re
import shutil
import subprocess
import urllib.request
from collections.abc import Iterator
from email.utils import formatdate

import pytest
from launch_kaniko.store_objects import ContextStore, open_store
from launch_kaniko.store_options import StoreOptions
from launch_kaniko.store_places import file_name, parse_store

from launchcore.plugin import EnvVar, LaunchError, Reason, Secret

AZURITE = os.environ.get("LAUNCHCORE_TEST_AZURITE") or shutil.which("azurite-blob")
pytestmark = [pytest.mark.slow, pytest.mark.skipif(AZURITE is None, reason="there is no azurite-blob here")]

ACCOUNT = "devstoreaccount1"
KEY = base64.b64encode(b"a key of our own").decode()
NAME = hashlib.sha256(b"a context").hexdigest()
VERSION = "2021-08-06"


def never() -> None:
    """It is wanted."""


def signed(method: str, address: str, path: str, query: str = "") -> bytes:
    """A request of our own, by the service's Shared Key scheme."""
    date = formatdate(usegmt=True)
    said = query.replace("=", ":")
    text = f"{method}{chr(10) * 12}x-ms-date:{date}\nx-ms-version:{VERSION}\n/{ACCOUNT}/{ACCOUNT}/{path}"
    text += f"\n{said}" if said else ""
    mac = hmac.new(base64.b64decode(KEY), text.encode(), hashlib.sha256).digest()
    headers = {
        "x-ms-date": date,
        "x-ms-version": VERSION,
        "Authorization": f"SharedKey {ACCOUNT}:{base64.b64encode(mac).decode()}",
        "Content-Length": "0",
    }
    request = urllib.request.Request(
        f"{address}/{path}{'?' if query else ''}{query}", method=method, headers=headers
    )
    with urllib.request.urlopen(request, timeout=30) as answer:
        return bytes(answer.read())


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    assert AZURITE is not None
    command = [AZURITE, "--blobHost", "127.0.0.1", "--blobPort", "0", "--inMemoryPersistence"]
    command += ["--skipApiVersionCheck", "--disableTelemetry"]
    environ = os.environ | {"AZURITE_ACCOUNTS": f"{ACCOUNT}:{KEY}"}
    where = tmp_path_factory.mktemp("azurite")
    with subprocess.Popen(command, cwd=where, env=environ, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            found = None
            while found is None and (line := process.stdout.readline()):
                found = re.search(r"successfully listens on (http://127\.0\.0\.1:\d+)", line)
            assert found is not None, "azurite did not start"
            address = f"{found[1]}/{ACCOUNT}"
            signed("PUT", address, "contexts", "restype=container")
            yield address
        finally:
            process.kill()


def opened(server: str, url: str = "az://contexts/a", key: str = KEY) -> ContextStore:
    access = [
        EnvVar(name="AZURE_STORAGE_ACCESS_KEY", value=Secret(key)),
        EnvVar(name="AZURE_STORAGE_ENDPOINT", value=server),
    ]
    return open_store(parse_store(url), access, StoreOptions(account=ACCOUNT, allow_http=True, retries=1))


@pytest.mark.parametrize("megabytes", [1, 17])
def test_a_context_is_put_found_and_swept(server: str, megabytes: int) -> None:
    data = random.Random(1).randbytes(megabytes << 20)
    with opened(server) as store:
        assert not store.has(NAME)
        store.put(NAME, [data], never)
        assert store.has(NAME)
        assert gzip.decompress(signed("GET", server, f"contexts/a/{file_name(NAME)}")) == data
        assert store.sweep() == 0
        assert store.sweep(keep_seconds=-60) == 1
        assert not store.has(NAME)


def test_what_was_given_up_is_not_there(server: str) -> None:
    def pieces() -> Iterator[bytes]:
        yield random.Random(1).randbytes(12 << 20)
        raise LaunchError("the source changed", reason=Reason.SOURCE_FAILED)

    with opened(server) as store:
        with pytest.raises(LaunchError, match="the source changed"):
            store.put(NAME, pieces(), never)
        assert not store.has(NAME)


def test_faults_are_told_apart(server: str) -> None:
    wrong = base64.b64encode(b"another key").decode()
    for store, said in (
        (opened(server, "az://no-such/a"), "the container az://no-such/a does not exist"),
        (opened(server, key=wrong), "may not write to the container az://contexts/a"),
    ):
        with store, pytest.raises(LaunchError, match=said) as caught:
            store.put(NAME, [b"x"], never)
        assert caught.value.reason is Reason.CONFIG_ERROR
