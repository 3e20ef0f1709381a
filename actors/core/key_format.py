"""The text of partition keys: what a key may be, and how a time window is written as one and read back.

Two spellings of a format are read: strftime (`%Y-%m-%dT%H`) and tokens (`YYYY-MM-DD[T]HH`). The set of
fields is closed, numeric and of fixed width, so a key can be read back and means the same under every locale.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, date, datetime
from functools import lru_cache

from actors.core.wallclock import epoch_ms, naive_wall

__all__ = ["KeyFormat", "compile_format", "flaw_of"]

_MAX_LENGTH = 255
_DIRECTIVES = {"Y": 4, "m": 2, "d": 2, "H": 2, "M": 2, "S": 2, "j": 3, "G": 4, "V": 2, "u": 1}
_SHORTHANDS = {"F": "%Y-%m-%d", "R": "%H:%M", "T": "%H:%M:%S"}
_TOKENS = {"YYYY": "Y", "MM": "m", "DD": "d", "HH": "H", "mm": "M", "ss": "S", "GGGG": "G", "WW": "V"}
_TOKEN = re.compile(r"\[([^\]]*)\]|([A-Za-z])\2*|([^A-Za-z\[\]])")


def flaw_of(key: str) -> str | None:
    """Why a text can be no partition key, as a phrase to follow it; None: 1 to 255 printable characters."""
    if not key:
        return "is empty"
    if len(key) > _MAX_LENGTH:
        return f"has {len(key)} characters, more than {_MAX_LENGTH}"
    if not key.isprintable():
        return "holds an unprintable character"
    return "begins or ends with a space" if key != key.strip() else None


@dataclass(frozen=True, slots=True)
class KeyFormat:
    """A compiled format: `write` and `read` are inverse on the fields the format holds.

    `fields` are the strftime letters it contains; `pattern` matches a key, `template` is its `str.format`
    form.
    """

    fields: frozenset[str]
    template: str
    pattern: re.Pattern[str]

    def write(self, wall_ms: int) -> str:
        """The key text of a wall clock value (milliseconds)."""
        at = naive_wall(wall_ms)
        year, week, weekday = at.isocalendar()
        return self.template.format(
            Y=at.year,
            m=at.month,
            d=at.day,
            H=at.hour,
            M=at.minute,
            S=at.second,
            j=at.timetuple().tm_yday if "j" in self.fields else 0,
            G=year,
            V=week,
            u=weekday,
        )

    def read(self, key: str) -> int:
        """The earliest wall clock value (milliseconds) with this key text.

        Raises:
            ValueError: the text has another form, or names a day or time that does not exist.
        """
        match = self.pattern.fullmatch(key)
        if match is None:
            raise ValueError("it has another form")
        found = {name: int(text) for name, text in match.groupdict().items()}
        day = _day_of(found)
        hour, minute, second = (found.get(name, 0) for name in "HMS")
        return epoch_ms(datetime(day.year, day.month, day.day, hour, minute, second, tzinfo=UTC))


@lru_cache(maxsize=1024)
def compile_format(text: str) -> KeyFormat:
    """Compile a format in either spelling.

    Raises:
        ValueError: an unknown or repeated field.
    """
    parts = _read_strftime(text) if "%" in text else _read_tokens(text)
    template, pattern, fields = "", "", set[str]()
    for is_field, part in parts:
        if not is_field:
            template += part.replace("{", "{{").replace("}", "}}")
            pattern += re.escape(part)
            continue
        if part in fields:
            raise ValueError(f"format {text!r} holds the field %{part} twice")
        fields.add(part)
        width = _DIRECTIVES[part]
        template += f"{{{part}:0{width}d}}"
        pattern += f"(?P<{part}>[0-9]{{{width}}})"
    return KeyFormat(frozenset(fields), template, re.compile(pattern))


def _read_strftime(text: str) -> list[tuple[bool, str]]:
    parts: list[tuple[bool, str]] = []
    at = 0
    while at < len(text):
        if text[at] != "%":
            parts.append((False, text[at]))
            at += 1
            continue
        letter = text[at + 1 : at + 2]
        if letter in _SHORTHANDS:
            parts += _read_strftime(_SHORTHANDS[letter])
        elif letter == "%" or letter in _DIRECTIVES:
            parts.append((letter != "%", letter))
        else:
            known = " ".join(f"%{name}" for name in (*_DIRECTIVES, *_SHORTHANDS, "%"))
            raise ValueError(f"format {text!r} holds '%{letter}', which is not one of {known}")
        at += 2
    return parts


def _read_tokens(text: str) -> list[tuple[bool, str]]:
    parts: list[tuple[bool, str]] = []
    at = 0
    while at < len(text):
        match = _TOKEN.match(text, at)
        if match is None:
            raise ValueError(f"format {text!r} holds an unclosed or stray bracket at character {at + 1}")
        literal, run = match[1], match[0]
        if literal is not None:
            parts.append((False, literal))
        elif run in _TOKENS:
            parts.append((True, _TOKENS[run]))
        elif run == "T" or match[2] is None:
            parts.append((False, run))
        else:
            raise ValueError(
                f"format {text!r} holds {run!r}, which is not one of {' '.join(_TOKENS)}; "
                f"write plain text in brackets: [{run}]"
            )
        at = match.end()
    return parts


def _day_of(found: dict[str, int]) -> date:
    if "Y" in found and "j" in found:
        day = date.fromordinal(date(found["Y"], 1, 1).toordinal() + found["j"] - 1)
        if day.year != found["Y"]:
            raise ValueError("there is no such day of the year")
        return day
    if "Y" in found:
        return date(found["Y"], found.get("m", 1), found.get("d", 1))
    return date.fromisocalendar(found["G"], found["V"], found.get("u", 1))
