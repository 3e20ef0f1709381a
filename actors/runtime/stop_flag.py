"""A slim stand-in for the `threading.Event` that pykka gives every actor."""

from __future__ import annotations

import threading

# Guards only the making of an event by `wait`, which almost nobody calls; so one lock serves every flag.
_making_event = threading.Lock()


class StopFlag(threading.Event):
    """`threading.Event` that builds its condition variable only when somebody waits.

    A `threading.Event` costs about 1 KB (a condition, its lock and its deque of waiters), and an actor's stop
    flag is nearly always only read. Once set it stays set, as an actor that stopped cannot be started again.
    """

    __slots__ = ("_event", "_is_set")

    # Deliberately not calling super().__init__(): the condition it would make is what this class avoids.
    def __init__(self) -> None:
        self._is_set = False
        self._event: threading.Event | None = None

    def __repr__(self) -> str:
        return f"<StopFlag {'set' if self._is_set else 'unset'}>"

    def is_set(self) -> bool:
        return self._is_set

    def set(self) -> None:
        self._is_set = True
        event = self._event
        if event is not None:
            event.set()

    def clear(self) -> None:
        """Refuse: a stopped actor stays stopped.

        Raises:
            RuntimeError: always
        """
        msg = "an actor's stop flag cannot be cleared: start a new actor instead"
        raise RuntimeError(msg)

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until the flag is set, at most `timeout` seconds; true if it is set."""
        if self._is_set:
            return True
        with _making_event:
            event = self._event
            if event is None:
                event = self._event = threading.Event()
        # Looked at again only now: a `set` that did not see the event is seen here.
        if self.is_set():
            event.set()
        return event.wait(timeout)
