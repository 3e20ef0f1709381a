"""What the main thread waits for: orders of signals, and of other threads."""

from __future__ import annotations

import signal
import socket
from collections.abc import Callable, Iterable
from contextlib import suppress
from queue import Empty, SimpleQueue
from types import FrameType, TracebackType
from typing import Self

__all__ = ["Orders"]


class Orders:
    """A queue that a signal wakes, whichever thread the system interrupts for it.

    Python runs handlers of signals in the main thread, when it gets to it. While it waits for a lock, as for that of a
    queue, it does not, if another thread was interrupted or if it was just about to wait. So it waits for a socket, to
    which Python writes at each signal (`signal.set_wakeup_fd`). To be entered and left in the main thread.
    """

    def __init__(self, signals: Iterable[signal.Signals]) -> None:
        self._signals = tuple(signals)
        self._queue: SimpleQueue[str] = SimpleQueue()
        self._woken, self._wakes = socket.socketpair()
        self._wakes.setblocking(False)
        self._before: dict[signal.Signals, Callable[[int, FrameType | None], object] | int | None] = {}
        self._fd_before = -1

    def __enter__(self) -> Self:
        self._fd_before = signal.set_wakeup_fd(self._wakes.fileno(), warn_on_full_buffer=False)
        self._before = {number: signal.signal(number, self._on_signal) for number in self._signals}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(self._fd_before)
        self._woken.close()
        self._wakes.close()

    def put(self, order: str) -> None:
        """From any thread; nothing once it was left."""
        self._queue.put(order)
        with suppress(OSError):  # there is enough to wake it already, or nobody waits any more
            self._wakes.send(b"\0")

    def get(self) -> str:
        """The next order: the name of a signal, or what was put."""
        while True:
            try:
                return self._queue.get_nowait()
            except Empty:
                self._woken.recv(4_096)

    def _on_signal(self, number: int, _frame: FrameType | None) -> None:
        self.put(signal.Signals(number).name)
