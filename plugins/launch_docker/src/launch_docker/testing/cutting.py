"""A TCP proxy before a registry that loses its connections in mid-transfer, as networks do."""

from __future__ import annotations

import contextlib
import selectors
import socket
import struct
import threading


class CuttingProxy:
    """``host`` stands for the registry behind it in the names of images. Passes everything on at first.

    :param target: the port of the registry on this machine.
    """

    def __init__(self, target: int) -> None:
        self._target = target
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.host = f"127.0.0.1:{self._listening.getsockname()[1]}"
        self._lock = threading.Lock()
        self._left: int | None = None
        self._after = 0
        self.cuts = 0
        """Connections that were cut."""
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self._threads[0].start()

    def cut(self, after: int) -> None:
        """From now on cut a connection whenever so many bytes came from the registry."""
        with self._lock:
            self._left = self._after = after

    def heal(self) -> None:
        """Pass everything on again."""
        with self._lock:
            self._left = None

    def close(self) -> None:
        """Cut all, and end."""
        with contextlib.suppress(OSError):
            self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()
        self.cut(0)
        for thread in self._threads:
            thread.join(5)

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listening.accept()
            except OSError:
                return
            thread = threading.Thread(target=self._pass_on, args=(client,), daemon=True)
            self._threads.append(thread)
            thread.start()

    def _pass_on(self, client: socket.socket) -> None:
        there = ("127.0.0.1", self._target)
        with client, contextlib.suppress(OSError), socket.create_connection(there, timeout=10) as registry:
            self._copy(client, registry)

    def _copy(self, client: socket.socket, registry: socket.socket) -> None:
        with selectors.DefaultSelector() as selector:
            selector.register(client, selectors.EVENT_READ, registry)
            selector.register(registry, selectors.EVENT_READ, client)
            while True:
                for key, _ in selector.select(timeout=0.2):
                    source, sink = key.fileobj, key.data
                    data = source.recv(16384)  # type: ignore[union-attr]
                    if source is registry and self._is_cut(len(data)):
                        # Without a goodbye: a reset, not an end that looks complete.
                        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                        return
                    if not data:
                        return
                    sink.sendall(data)
                if self._is_cut(0):
                    return

    def _is_cut(self, count: int) -> bool:
        with self._lock:
            if self._left is None:
                return False
            self._left -= count
            if self._left > 0:
                return False
            self.cuts += 1
            self._left = self._after
            return True
