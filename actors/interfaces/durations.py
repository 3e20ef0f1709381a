"""Durations as people write them: `90s`, `15m`, `2h`, `1d`, or several in a row, such as `1h30m`."""

from __future__ import annotations

import re
from typing import Final

__all__ = ["parse_duration_ms"]

_UNITS_MS: Final = {"ms": 1, "s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}
_PART: Final = re.compile(r"(\d{1,12})(ms|[smhd])", re.ASCII)
_MOST_MS: Final = 3_660 * _UNITS_MS["d"]


def parse_duration_ms(text: str) -> int:
    """The milliseconds of a duration; each unit once, the larger before the smaller.

    Raises:
        ValueError: the text is no duration, is zero, or is longer than ten years.
    """
    parts = _PART.findall(text)
    sizes = [_UNITS_MS[unit] for _, unit in parts]
    if "".join(count + unit for count, unit in parts) != text or not text or sizes != sorted(set(sizes), reverse=True):
        raise ValueError(f"{text[:40]!r} is no duration; write it as 90s, 15m, 2h, 1d or 1h30m")
    ms = sum(int(count) * size for (count, _), size in zip(parts, sizes, strict=True))
    if not 0 < ms <= _MOST_MS:
        raise ValueError(f"{text[:40]!r} is {'no time at all' if ms == 0 else 'longer than ten years'}")
    return ms
