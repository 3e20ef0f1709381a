from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from actors.core.key_format import compile_format, flaw_of
from tests.unit.core.zones import ms

WALLS = st.integers(ms("1900-01-01T00:00Z"), ms("2999-12-31T23:59Z"))


@pytest.mark.parametrize(
    ("tokens", "strftime"),
    [
        ("YYYY-MM-DDTHH:mm:ss", "%Y-%m-%dT%H:%M:%S"),
        ("YYYY-MM-DD[T]HH", "%FT%H"),
        ("[day ]YYYYMMDD", "day %Y%m%d"),
        ("GGGG-[W]WW", "%G-W%V"),
        ("YYYY/MM", "%Y/%m"),
        ("[]YYYY[T{}]", "%YT{}"),
        ("é YYYY", "é %Y"),
    ],
)
@given(WALLS)
@example(0)
def test_both_spellings_write_what_strftime_writes(tokens: str, strftime: str, wall_ms: int) -> None:
    expected = datetime.fromtimestamp(wall_ms // 1_000, UTC).strftime(strftime)
    assert compile_format(tokens).write(wall_ms) == expected
    assert compile_format(strftime).write(wall_ms) == expected


@pytest.mark.parametrize("text", ["%Y%j %H.%M", "%G-%V-%u %T", "%R %F", "%d.%m.%Y %H%M", "100%% %Y-%m-%d %H:%M"])
@given(WALLS)
def test_what_is_written_is_read_back_to_the_minute(text: str, wall_ms: int) -> None:
    compiled = compile_format(text)
    second = 1_000 if "S" in compiled.fields else 60_000
    assert compiled.read(compiled.write(wall_ms)) == wall_ms // second * second


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("%Y-%m-%d", "2026-02-30"),
        ("%Y-%m-%d", "0000-01-01"),
        ("%Y-%m-%d", "2026-1-01"),
        ("%Y-%m-%d", "2026-01-01\n"),
        ("%Y-%m-%d", "२०२६-01-01"),
        ("%Y-%m-%d", "x2026-01-01"),
        ("%Y.%m.%d", "2026-11-23"),
        ("%Y-%j", "2026-366"),
        ("%Y-%j", "2026-000"),
        ("%Y-%j", "9999-999"),
        ("%Y-%m-%dT%H", "2026-01-01T24"),
        ("%Y-%m-%dT%H:%M:%S", "2016-12-31T23:59:60"),
        ("%G-W%V", "2026-W54"),
        ("%G-W%V", "2027-W53"),
        ("%G-W%V-%u", "9999-W52-9"),
    ],
)
def test_a_key_of_no_time_is_refused(text: str, key: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - the many reasons are the standard library's
        compile_format(text).read(key)


@given(st.text("0123456789-WT:", max_size=20), st.sampled_from(("%Y-%m-%d", "%G-W%V-%u", "%Y%j")))
def test_any_text_is_read_or_refused(key: str, text: str) -> None:
    try:
        wall_ms = compile_format(text).read(key)
    except ValueError:
        return
    assert compile_format(text).write(wall_ms) == key


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("%y-%m-%d", "'%y'"),
        ("%Y-%m-%d %b", "'%b'"),
        ("%Y-%m-%d%", "'%'"),
        ("%Y-%m-%d %d", "%d twice"),
        ("%F %Y", "%Y twice"),
        ("YYYY-MM-DDTHHZ", r"\[Z\]"),
        ("YYYY-MMM-DD", "'MMM'"),
        ("yyyy-MM-dd", "'yyyy'"),
        ("YYYY-MM-DD[T", "bracket at character 11"),
        ("YYYY]", "bracket at character 5"),
    ],
)
def test_a_format_with_an_unknown_or_repeated_field_is_refused_and_says_which(text: str, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        compile_format(text)


@pytest.mark.parametrize("key", ["a", "a b", "é", "x" * 255, "a/b:c", "😀"])
def test_printable_text_is_a_key(key: str) -> None:
    assert flaw_of(key) is None


@pytest.mark.parametrize("key", ["", " a", "a ", "a\nb", "a\tb", "\x00", "x" * 256, "\ud800", "\u200b", "\u00a0a"])
def test_text_that_cannot_be_seen_is_no_key(key: str) -> None:
    assert flaw_of(key)
