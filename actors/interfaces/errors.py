"""What a command says when it cannot do what was asked: one or few lines on stderr, and an exit code."""

from __future__ import annotations

from collections.abc import Iterable

from actors.catalog.control import ControlFailed, ControlTimeout, ServiceNotRunning
from actors.catalog.definitions import DefinitionInvalid
from actors.catalog.embedded import EmbeddedServerFailed
from actors.catalog.events import EventInvalid
from actors.catalog.store import CatalogUnavailable
from actors.core.graph import CycleError
from actors.core.partitions import PartitionKeyError
from actors.interfaces.metrics import MetricsServerFailed
from actors.interfaces.near import nearest
from actors.settings import SettingsError

__all__ = ["BAD_INPUT", "REFUSED", "CommandError", "bad_input", "check_text", "explained", "refused", "unknown"]

REFUSED = 1
BAD_INPUT = 2

_CODES: tuple[tuple[type[Exception], int], ...] = (
    (SettingsError, BAD_INPUT),
    (DefinitionInvalid, BAD_INPUT),
    (PartitionKeyError, BAD_INPUT),
    (EventInvalid, BAD_INPUT),
    (CycleError, REFUSED),
    (CatalogUnavailable, REFUSED),
    (EmbeddedServerFailed, REFUSED),
    (MetricsServerFailed, REFUSED),
    (ServiceNotRunning, REFUSED),
    (ControlTimeout, REFUSED),
    (ControlFailed, REFUSED),
    # The data directory cannot be written, a file vanished: the system's own words say which.
    (OSError, REFUSED),
)


class CommandError(Exception):
    """Ends a command; the text says what is wrong, where, and what to do."""

    def __init__(self, text: str, code: int) -> None:
        super().__init__(text)
        self.code = code


def refused(text: str) -> CommandError:
    """What was asked cannot be done now, or not with what is there (exit code 1)."""
    return CommandError(text, REFUSED)


def bad_input(text: str) -> CommandError:
    """What was given cannot be read or does not fit (exit code 2)."""
    return CommandError(text, BAD_INPUT)


def check_text(option: str, text: str | None) -> None:
    """Refuse an option whose bytes were no text in the terminal's encoding: it could be neither kept nor shown.

    Raises:
        CommandError: it is not.
    """
    if text is not None and any("\ud800" <= letter <= "\udfff" for letter in text):
        raise bad_input(f"{option}: {text.encode(errors='backslashreplace').decode()} is not valid UTF-8 text")


def unknown(kind: str, name: str, known: Iterable[str], *, otherwise: str = "") -> CommandError:
    """No such thing, with the names that come near; `otherwise` says what to do when none does."""
    names = sorted(known)
    near = nearest(name, names)
    text = f"there is no {kind} {name!r}"
    if near:
        return refused(f"{text}; did you mean {near}?")
    if names:
        more = ", ..." if len(names) > 10 else ""
        return refused(f"{text}; there are {', '.join(names[:10])}{more}")
    return refused(f"{text}; {otherwise}" if otherwise else text)


def explained(error: Exception) -> tuple[str, int] | None:
    """The text and exit code of an error that is no bug of ours; None for one that is."""
    if isinstance(error, CommandError):
        return str(error), error.code
    for kind, code in _CODES:
        if isinstance(error, kind):
            return str(error) or type(error).__name__, code
    return None
