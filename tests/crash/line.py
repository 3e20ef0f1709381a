"""A line between a service and its server that can be cut, held, reset and mended, and that outlives the server."""

from __future__ import annotations

import contextlib
import selectors
import socket
import struct
import threading
from pathlib import Path
from typing import Final

__all__ = ["Line"]

_RESET_AT_CLOSE: Final = struct.pack("ii", 1, 0)
_PIECE: Final = 65_536
_TURN_SECONDS: Final = 0.02


class Line:
    """Listens on a TCP port and passes everything on to a server's Unix socket, on a thread of its own.

    A cut line swallows what is sent and closes nothing, as a network does that drops packets; a held one delivers it
    when it is mended, however late; a reset one ends every connection at once. While the server is down, whoever
    connects is turned away, as it would be without the line.
    """

    def __init__(self, server_socket: Path) -> None:
        self._server_socket = server_socket
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._others: dict[socket.socket, socket.socket] = {}
        self._has_cut = threading.Event()
        self._is_held = threading.Event()
        self._is_to_reset = threading.Event()
        self._is_closing = threading.Event()
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._listener, selectors.EVENT_READ)
        self._thread = threading.Thread(target=self._run, name="line", daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self._listener.getsockname()[1]}/0"

    @property
    def is_silent(self) -> bool:
        return self._has_cut.is_set() or self._is_held.is_set()

    def cut(self) -> None:
        self._has_cut.set()

    def hold(self) -> None:
        self._is_held.set()

    def mend(self) -> None:
        """Let everything through again; connections that were there when it was cut have lost bytes, and are reset."""
        self._is_held.clear()
        if self._has_cut.is_set():
            self._has_cut.clear()
            self._is_to_reset.set()

    def reset(self) -> None:
        self._is_to_reset.set()

    def close(self) -> None:
        self._is_closing.set()
        self._thread.join(10)
        for each in [*self._others, self._listener]:
            each.close()
        self._selector.close()

    def _run(self) -> None:
        while not self._is_closing.is_set():
            if self._is_held.is_set():
                self._is_closing.wait(_TURN_SECONDS)
                continue
            for key, _ in self._selector.select(_TURN_SECONDS):
                ready = key.fileobj
                assert isinstance(ready, socket.socket)
                if ready is self._listener:
                    self._connect()
                elif ready in self._others:  # not closed together with its other end, in this very turn
                    self._pass_on(ready)
            if self._is_to_reset.is_set():
                self._is_to_reset.clear()
                for each in list(self._others):
                    self._close(each)

    def _connect(self) -> None:
        client, _ = self._listener.accept()
        server = socket.socket(socket.AF_UNIX)
        try:
            server.connect(str(self._server_socket))
        except OSError:
            client.close()
            server.close()
            return
        for one, other in ((client, server), (server, client)):
            self._others[one] = other
            self._selector.register(one, selectors.EVENT_READ)

    def _pass_on(self, ready: socket.socket) -> None:
        data = b""
        with contextlib.suppress(OSError):
            data = ready.recv(_PIECE)
        if not data:
            self._close(ready)
        elif not self._has_cut.is_set():
            try:
                self._others[ready].sendall(data)
            except OSError:
                self._close(ready)

    def _close(self, one: socket.socket) -> None:
        """End a connection at both ends; TCP's is told by a reset."""
        if one not in self._others:
            return
        for each in (one, self._others[one]):
            self._selector.unregister(each)
            del self._others[each]
            if each.family == socket.AF_INET:
                each.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_AT_CLOSE)
            each.close()
