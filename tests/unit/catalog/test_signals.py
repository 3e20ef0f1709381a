"""What shards tell each other, as it is written into a stream."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.catalog.events import EventInvalid
from actors.catalog.signals import encode_signal, parse_signal
from actors.messages import FromShard, Reported, ReportWanted, Settled, Signal

names = st.text(min_size=1, max_size=8)
keys = st.none() | names
waves = st.integers(0, 2**70)
signals: st.SearchStrategy[Signal] = st.one_of(
    st.builds(Settled, names, keys, waves, st.none() | st.integers(0, 2**45)),
    st.builds(Reported, names, waves, st.frozensets(keys, max_size=4)),
    st.builds(ReportWanted, st.lists(names, max_size=4).map(tuple), st.integers(0, 63)),
)


@given(signals)
def test_a_signal_arrives_as_it_was_told(signal: Signal) -> None:
    assert parse_signal(encode_signal(signal)) == FromShard(signal)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "null",
        "[]",
        "{}",
        '{"settled": ["a", null, 1]}',
        '{"settled": ["a", 7, 1, null]}',
        '{"settled": [null, null, 1, null]}',
        '{"reported": ["a", 1, [7]]}',
        '{"wanted": ["a", 1]}',
        '{"wanted": [["a", null], 1]}',
        '{"else": ["a"]}',
    ],
)
def test_what_is_no_signal_is_refused(text: str) -> None:
    with pytest.raises(EventInvalid):
        parse_signal(text)
