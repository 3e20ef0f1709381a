"""A proxy between clients and a server that can be cut at a byte, severed, and switched over to another server."""

from __future__ import annotations

import contextlib
import selectors
import socket
import threading
from collections.abc import Callable
from typing import Any, Final, Literal

__all__ = ["Cut", "Proxy"]

_CHUNK: Final = 65_536
Address = str | tuple[str, int]
Way = Literal["request", "answer"]


class Cut:
    """Closes connections after so many bytes of a request that holds `mark`, or of its answer.

    `times` says how many connections are cut, one after the other; `done` is set when the last was.
    """

    def __init__(self, way: Way, after: Callable[[], int], *, mark: bytes = b"", times: int = 1) -> None:
        self.way = way
        self.after = after
        self.mark = mark
        self.times = times
        self.done = threading.Event()

    def is_meant(self, request: bytes) -> bool:
        return self.times > 0 and self.mark in request

    def count(self) -> None:
        self.times -= 1
        if self.times <= 0:
            self.done.set()


class _Link:
    """One client's connection and its way to the server."""

    def __init__(self, client: socket.socket, server: socket.socket) -> None:
        self.client = client
        self.server = server
        self.left: int | None = None
        """So many bytes of the answer still go through, then the connection is cut."""


class Proxy:
    """Listens on a TCP port of its own. One thread passes everything on."""

    def __init__(self, target: Address) -> None:
        self._target = target
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._listener, selectors.EVENT_READ)
        self._lock = threading.Lock()  # guards all below
        self._links: set[_Link] = set()
        self._cut: Cut | None = None
        self.refused = 0
        """How many connections found nobody at the other end."""
        self._is_open = True
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self._listener.getsockname()[1]}/0"

    def switch(self, target: Address, *, sever: bool = True) -> None:
        """Lead new connections to another server; those that are there go on to the former one unless severed."""
        with self._lock:
            self._target = target
            if sever:
                self._sever()

    def sever(self) -> None:
        """Close every connection."""
        with self._lock:
            self._sever()

    def cut(self, cut: Cut | None) -> None:
        """Cut from now on; None lets all through again."""
        with self._lock:
            self._cut = cut

    def close(self) -> None:
        with self._lock:
            self._is_open = False
        self._thread.join(10)
        self._sever()
        self._listener.close()
        self._selector.close()

    def _run(self) -> None:
        while self._is_open:
            for key, _ in self._selector.select(0.05):
                with self._lock:
                    if key.data is None:
                        self._accept()
                    elif key.data in self._links:
                        self._pass_on(key.data, key.fileobj)

    def _accept(self) -> None:
        client, _ = self._listener.accept()
        is_path = isinstance(self._target, str)
        server = socket.socket(socket.AF_UNIX if is_path else socket.AF_INET)
        try:
            server.connect(self._target)
        except OSError:
            # Nobody is there: refused, as it would be without a proxy.
            self.refused += 1
            for each in (client, server):
                each.close()
            return
        if not is_path:
            server.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        link = _Link(client, server)
        self._links.add(link)
        for each in (client, server):
            self._selector.register(each, selectors.EVENT_READ, link)

    def _pass_on(self, link: _Link, ready: Any) -> None:
        data = b""
        with contextlib.suppress(OSError):
            data = ready.recv(_CHUNK)
        is_request = ready is link.client
        is_last = not data
        if is_request and self._cut is not None and self._cut.is_meant(data):
            if self._cut.way == "answer":
                link.left = self._cut.after()
            else:
                # Never the whole of it, or it would be carried out.
                data = data[: min(self._cut.after(), len(data) - 1)]
                is_last = True
            self._cut.count()
        elif not is_request and link.left is not None:
            data, link.left = data[: link.left], link.left - len(data)
            is_last = is_last or link.left <= 0
        with contextlib.suppress(OSError):
            (link.server if is_request else link.client).sendall(data)
        if is_last:
            self._drop(link)

    def _sever(self) -> None:
        for link in list(self._links):
            self._drop(link)

    def _drop(self, link: _Link) -> None:
        self._links.discard(link)
        for each in (link.client, link.server):
            self._selector.unregister(each)
            each.close()
