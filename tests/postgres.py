"""A PostgreSQL server of the tests' own: private, quick, and gone when they end.

``server()`` starts it once for a process, from Debian's ``postgresql``; nothing that the machine runs is
touched. With ``LAUNCHCORE_TEST_POSTGRES=postgresql://…`` (a user that may create databases) that server
is used instead, and cannot be stopped.

The server's locale is not C on purpose: what the store sorts and compares must not depend on it.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import os
import pwd
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import quote, urlsplit

import psutil
import pytest

USER = "launch"
PASSWORD = "not-a-secret"
_PATIENCE = 60.0
_KEPT = 16
"""So many databases stay, besides those that somebody is connected to."""
_WATCH = 'read -r _; kill -QUIT "$(head -n 1 "$0/data/postmaster.pid")" 2>/dev/null; sleep 2; rm -rf "$0"'
"""Ends the server of a process that was killed: its end of the pipe is closed then."""

_QUICK = ("fsync=off", "full_page_writes=off")
"""What was committed outlives a killed server, though not a killed machine."""
_SETTINGS = (
    "listen_addresses=127.0.0.1",
    "shared_buffers=64MB",
    "max_connections=200",
    "max_wal_size=256MB",
    "log_min_messages=fatal",
    "superuser_reserved_connections=0",
    "dynamic_shared_memory_type=mmap",  # so that a killed server leaves nothing in /dev/shm
)


class Server:
    """One server with a data directory of its own.

    :param durable: commits reach the disk (for benchmarks), and the data is on one.
    """

    def __init__(self, *, durable: bool = False) -> None:
        memory = Path("/dev/shm")
        parent = memory if memory.is_dir() and not durable else None
        self.folder = Path(tempfile.mkdtemp(prefix="launch-pg-", dir=parent))
        self.port = free_port()
        self._durable = durable
        self._process: subprocess.Popen[bytes] | None = None
        self._databases: list[str] = []
        self._templates: dict[str, str] = {}
        try:
            self._make()
        except BaseException:
            shutil.rmtree(self.folder, ignore_errors=True)
            raise
        command = ["sh", "-c", _WATCH, str(self.folder)]
        self._watcher = subprocess.Popen(command, stdin=subprocess.PIPE, start_new_session=True)

    def url(self, database: str = "postgres", *, tcp: bool = False) -> str:
        """Where a database is: over the socket without a password, or over loopback with one."""
        if tcp:
            return f"postgresql://{USER}:{PASSWORD}@127.0.0.1:{self.port}/{database}"
        return f"postgresql://{USER}@/{database}?host={quote(str(self.folder), safe='')}&port={self.port}"

    def start(self) -> None:
        """Start it, and return when it answers. One that runs stays as it is."""
        if self._process is not None and self._process.poll() is None:
            return
        settings = (*_SETTINGS, *(() if self._durable else _QUICK))
        command = [_program("postgres"), "-D", self._data, "-p", str(self.port), "-k", str(self.folder)]
        for setting in settings:
            command += ["-c", setting]
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd="/",
                user=_account(),
                group=_account(),
                extra_groups=_groups(),
            )
        end = time.monotonic() + _PATIENCE
        while True:
            with contextlib.suppress(Exception):
                self.execute("SELECT 1")
                return
            if self._process.poll() is not None or time.monotonic() > end:
                raise RuntimeError((self.folder / "log").read_text()[-2000:])
            time.sleep(0.02)

    def process(self) -> psutil.Process:
        """The server, of which all others are children."""
        assert self._process is not None
        return psutil.Process(self._process.pid)

    def stop(self) -> None:
        """End it in order, and every connection to it at once."""
        self._end(signal.SIGINT)

    def kill(self) -> None:
        """``kill -9`` for all of its processes."""
        process = self._process
        if process is None or process.poll() is not None:
            return
        with contextlib.suppress(psutil.NoSuchProcess):
            process.send_signal(signal.SIGSTOP)  # it starts no other process meanwhile
            children = psutil.Process(process.pid).children(recursive=True)
            for child in children:
                with contextlib.suppress(psutil.NoSuchProcess):
                    child.kill()
            self._end(signal.SIGKILL)
            psutil.wait_procs(children, timeout=_PATIENCE)

    def close(self) -> None:
        """End it, and remove all that it had."""
        self.stop()
        with contextlib.suppress(OSError, IndexError):  # it was killed: its segment is still there
            segment = (self.folder / "data/postmaster.pid").read_text().splitlines()[6].split()[1]
            subprocess.run(["ipcrm", "-m", segment], capture_output=True, check=False)
        shutil.rmtree(self.folder, ignore_errors=True)
        assert self._watcher.stdin is not None
        self._watcher.kill()
        self._watcher.wait()
        self._watcher.stdin.close()

    def execute(self, statement: str, database: str = "postgres") -> list[tuple[object, ...]]:
        """Execute a statement outside a transaction, and return its rows."""
        return execute(self.url(database), statement)

    def database(self, template: str = "template1") -> str:
        """The name of a new database, a copy of ``template``. Old ones are dropped by and by."""
        name = f"launch_{secrets.token_hex(6)}"
        self.execute(f"CREATE DATABASE {name} TEMPLATE {template} STRATEGY FILE_COPY")
        self._databases.append(name)
        if len(self._databases) > _KEPT:
            self._drop_some()
        return name

    def _drop_some(self) -> None:
        """Databases that nobody is connected to: to try with others takes five seconds."""
        used = {row[0] for row in self.execute("SELECT DISTINCT datname FROM pg_stat_activity")}
        for old in [name for name in self._databases[:-_KEPT] if name not in used][:4]:
            with contextlib.suppress(Exception):
                self.execute(f"DROP DATABASE IF EXISTS {old}")
                self._databases.remove(old)

    def template(self, name: str, make: Callable[[str], object]) -> str:
        """A database that ``make`` (given its URL) has made once, for :meth:`database` to copy."""
        if name not in self._templates:
            made = f"launch_template_{secrets.token_hex(6)}"
            self.execute(f"CREATE DATABASE {made}")
            make(self.url(made))
            self._templates[name] = made
        return self._templates[name]

    @property
    def _data(self) -> str:
        return str(self.folder / "data")

    def _make(self) -> None:
        (self.folder / "password").write_text(PASSWORD)
        self.folder.chmod(0o755)
        if (account := _account()) is not None:
            shutil.chown(self.folder, account)
        command = [_program("initdb"), "-D", self._data, "-U", USER, "--encoding=UTF8", "--locale=C.UTF-8"]
        command += ["--locale-provider=icu", "--icu-locale=en-US", "--no-sync", "--no-instructions"]
        command += ["--auth-local=trust", "--auth-host=scram-sha-256", f"--pwfile={self.folder / 'password'}"]
        made = subprocess.run(
            command,
            capture_output=True,
            text=True,
            check=False,
            cwd="/",
            user=_account(),
            group=_account(),
            extra_groups=_groups(),
        )
        if made.returncode:
            raise RuntimeError(f"initdb failed: {made.stderr.strip()}")

    def _end(self, how: signal.Signals) -> None:
        process, self._process = self._process, None
        if process is not None:
            process.send_signal(how)
            process.wait(_PATIENCE)


class Foreign(Server):
    """The server that ``LAUNCHCORE_TEST_POSTGRES`` names."""

    def __init__(self, url: str) -> None:
        self._url = urlsplit(url)
        self._databases = []
        self._templates = {}

    def url(self, database: str = "", *, tcp: bool = False) -> str:
        return self._url._replace(path=f"/{database}").geturl() if database else self._url.geturl()

    def start(self) -> None:
        """It runs."""

    def stop(self) -> None:
        pytest.skip("LAUNCHCORE_TEST_POSTGRES cannot be stopped")

    kill = stop

    def execute(self, statement: str, database: str = "") -> list[tuple[object, ...]]:
        return execute(self.url(database), statement)

    def close(self) -> None:
        for name in (*self._databases, *self._templates.values()):
            with contextlib.suppress(Exception):
                self.execute(f"DROP DATABASE IF EXISTS {name}")


@functools.cache
def server() -> Server:
    """The server of this process, running.

    :raises RuntimeError: it cannot be started here.
    """
    url = os.environ.get("LAUNCHCORE_TEST_POSTGRES")
    made = Foreign(url) if url else Server()
    atexit.register(made.close)
    made.start()
    return made


@pytest.fixture(scope="session")
def postgres() -> Server:
    """The server of all tests; skips where there is none, unless live tests are wanted."""
    try:
        return server()
    except (OSError, RuntimeError) as error:
        if os.environ.get("LAUNCHCORE_REQUIRE_LIVE") == "1":
            raise
        pytest.skip(f"no PostgreSQL server here: {error}")


@pytest.fixture
def own_postgres() -> Iterator[Server]:
    """A server that the test may stop and kill."""
    if os.environ.get("LAUNCHCORE_TEST_POSTGRES"):
        pytest.skip("LAUNCHCORE_TEST_POSTGRES cannot be stopped")
    try:
        made = Server()
        made.start()
    except (OSError, RuntimeError) as error:
        if os.environ.get("LAUNCHCORE_REQUIRE_LIVE") == "1":
            raise
        pytest.skip(f"no PostgreSQL server here: {error}")
    yield made
    made.close()


def execute(url: str, statement: str) -> list[tuple[object, ...]]:
    """Execute a statement outside a transaction, and return its rows."""
    import psycopg

    with psycopg.connect(url, autocommit=True, connect_timeout=10) as connection:
        cursor = connection.execute(statement.encode())
        return cursor.fetchall() if cursor.description else []


def _program(name: str) -> str:
    """A program of the newest server that is installed."""
    folders = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: float(path.parent.name))
    for folder in reversed(folders):
        if (folder / name).is_file():
            return str(folder / name)
    found = shutil.which(name)
    if found is None:
        raise RuntimeError(f"no program {name!r}: install PostgreSQL's server (apt-get install postgresql)")
    return found


def _account() -> str | None:
    """Whom to run it as, when we are root: PostgreSQL refuses to run as root."""
    if os.getuid() != 0:
        return None
    with contextlib.suppress(KeyError):
        return pwd.getpwnam("postgres").pw_name
    return "nobody"


def _groups() -> list[str | int] | None:
    return [] if os.getuid() == 0 else None


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
