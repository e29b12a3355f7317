"""HTTP over a unix socket: one pool of connections for one engine, and no socket left to the collector.

The SDK's own adapter keeps a pool for each URL that was ever asked, so that no two containers share a
connection, and forgets a socket that cannot connect. This module is imported where a client is made.
"""

from __future__ import annotations

import socket
from typing import Any

import urllib3.connection
import urllib3.connectionpool
from docker.transport.unixconn import UnixHTTPAdapter


class UnixConnection(urllib3.connection.HTTPConnection):
    """One connection to the socket at ``path``."""

    def __init__(self, path: str) -> None:
        super().__init__("localhost")
        self._path = path

    def connect(self) -> None:
        connecting = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            connecting.settimeout(self.timeout)
            connecting.connect(self._path)
        except BaseException:
            connecting.close()
            raise
        self.sock = connecting


class UnixPool(urllib3.connectionpool.HTTPConnectionPool):
    """Connections to the socket at ``path``, ``size`` of which are kept open."""

    def __init__(self, path: str, size: int) -> None:
        super().__init__("localhost", maxsize=size)
        self._path = path

    def _new_conn(self) -> UnixConnection:
        self.num_connections += 1
        return UnixConnection(self._path)


class UnixAdapter(UnixHTTPAdapter):  # type: ignore[misc]
    """What requests sends with. Every URL goes to the same socket, so that one pool serves them all."""

    def __init__(self, path: str, size: int) -> None:
        super().__init__(f"http+unix://{path}", pool_connections=1, max_pool_size=size)
        self.pools["engine"] = UnixPool(path, size)

    def get_connection(self, url: str, proxies: Any = None) -> UnixPool:
        with self.pools.lock:
            if "engine" not in self.pools:  # it was closed, and is used again
                self.pools["engine"] = UnixPool(self.socket_path, self.max_pool_size)
            pool: UnixPool = self.pools["engine"]
            return pool
