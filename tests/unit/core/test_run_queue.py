from __future__ import annotations

from dataclasses import dataclass

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from actors.core.run_queue import Capacity, RunKey, RunQueue, Slot

AGING_MS = 100

LIMITS = st.builds(
    Capacity,
    st.integers(0, 5),
    st.dictionaries(st.sampled_from("vw"), st.integers(0, 3)),
    st.dictionaries(st.sampled_from("pq"), st.integers(0, 2)),
)
SLOTS = st.builds(
    Slot,
    st.tuples(st.sampled_from("uvw"), st.sampled_from([None, "1", "2"])),
    st.lists(st.sampled_from("pqr"), unique=True, max_size=2).map(tuple),
)
ITEMS = st.sampled_from([f"item-{n}" for n in range(8)])


@dataclass
class Waiting:
    rank: int
    number: int
    slot: Slot


class AgainstAList(RuleBasedStateMachine):
    """The queue beside a bare list that is searched from end to end."""

    def __init__(self) -> None:
        super().__init__()
        self.capacity = Capacity(2)
        self.queue = RunQueue(self.capacity, aging_ms=AGING_MS)
        self.waiting: dict[str, Waiting] = {}
        self.running: dict[str, Slot] = {}
        self.number = 0

    def fits(self, slot: Slot) -> bool:
        slots = list(self.running.values())
        workflow = slot.key[0]
        return (
            len(slots) < self.capacity.max_runs
            and all(s.key != slot.key for s in slots)
            and sum(s.key[0] == workflow for s in slots) < self.capacity.workflows.get(workflow, 99)
            and all(sum(p in s.pools for s in slots) < self.capacity.pools.get(p, 99) for p in slot.pools)
        )

    @rule(item=ITEMS, slot=SLOTS, priority=st.integers(-1, 2), since_ms=st.sampled_from([0, 50, AGING_MS]))
    def put(self, item: str, slot: Slot, priority: int, since_ms: int) -> None:
        self.queue.put(item, slot, priority=priority, since_ms=since_ms)
        self.number += 1
        rank, known = priority * AGING_MS + since_ms, self.waiting.get(item)
        if known is None:
            self.waiting[item] = Waiting(rank, self.number, slot)
        elif rank < known.rank:
            self.waiting[item] = Waiting(rank, known.number, slot)

    @rule(item=ITEMS)
    def remove(self, item: str) -> None:
        assert self.queue.remove(item) == (self.waiting.pop(item, None) is not None)

    @rule(run_id=st.sampled_from(["run-a", "run-b", "run-c"]), slot=SLOTS)
    def occupy(self, run_id: str, slot: Slot) -> None:
        """Runs that others started count as well, even past a limit; twice is once."""
        self.queue.occupy(run_id, slot)
        self.running.setdefault(run_id, slot)

    @rule(data=st.data())
    def release(self, data: st.DataObject) -> None:
        run_id = data.draw(st.sampled_from([*self.running, "nobody"]))
        assert self.queue.release(run_id) == (self.running.pop(run_id, None) is not None)

    @rule(capacity=LIMITS)
    def resize(self, capacity: Capacity) -> None:
        self.capacity = capacity
        self.queue.resize(capacity)

    @rule()
    def take(self) -> None:
        fitting = [(w.rank, w.number, item) for item, w in self.waiting.items() if self.fits(w.slot)]
        taken = self.queue.take()
        if not fitting:
            assert taken is None
            return
        best = min(fitting)[2]
        assert taken == (best, self.waiting[best].slot)
        self.queue.occupy(f"run-of-{best}-{self.number}", self.waiting[best].slot)
        self.running[f"run-of-{best}-{self.number}"] = self.waiting.pop(best).slot

    @invariant()
    def nothing_is_lost(self) -> None:
        ordered = sorted(self.waiting.items(), key=lambda w: (w[1].rank, w[1].number))
        assert self.queue.waiting() == [(item, w.slot) for item, w in ordered]
        assert len(self.queue) == len(self.waiting)
        assert all(item in self.queue for item in self.waiting)
        assert dict(self.queue.active) == self.running
        for key in {w.slot.key for w in self.waiting.values()}:
            assert self.queue.is_busy(key) == any(s.key == key for s in self.running.values())


AgainstAList.TestCase.settings = settings(max_examples=150, stateful_step_count=40)
TestAgainstAList = AgainstAList.TestCase


def drain(queue: RunQueue) -> list[str]:
    """Take one, let it run to its end, take the next."""
    taken: list[str] = []
    while (found := queue.take()) is not None:
        taken.append(found[0])
        queue.occupy(found[0], found[1])
        queue.release(found[0])
    return taken


def key(number: int) -> RunKey:
    return ("w", str(number))


@given(st.lists(st.integers(0, 3), max_size=30))
def test_priority_first_and_first_come_first_served_among_equals(priorities: list[int]) -> None:
    queue = RunQueue(Capacity(1), aging_ms=AGING_MS)
    for number, priority in enumerate(priorities):
        queue.put(str(number), Slot(key(number)), priority=priority, since_ms=0)
    assert drain(queue) == [str(n) for n, _ in sorted(enumerate(priorities), key=lambda item: item[1])]


def test_no_run_starves_behind_a_stream_of_better_ones() -> None:
    """One place, one run a millisecond, and each millisecond another run that is five steps better arrives."""
    queue = RunQueue(Capacity(1), aging_ms=AGING_MS)
    queue.put("patient", Slot(key(-1)), priority=6, since_ms=0)
    for now_ms in range(2_000):
        queue.put(f"urgent-{now_ms}", Slot(key(now_ms)), priority=1, since_ms=now_ms)
        taken = queue.take()
        assert taken is not None
        if taken[0] == "patient":
            assert now_ms == 5 * AGING_MS
            return
    raise AssertionError("it never got its turn")


def test_a_full_limit_holds_up_nobody_else() -> None:
    queue = RunQueue(Capacity(9, {"slow": 1}, {"gpu": 1}), aging_ms=AGING_MS)
    queue.occupy("run-1", Slot(("slow", None)))
    queue.occupy("run-2", Slot(("other", None), ("gpu",)))
    queue.put("held by workflow", Slot(("slow", "1")), priority=0, since_ms=0)
    queue.put("held by pool", Slot(("fast", "1"), ("gpu",)), priority=0, since_ms=1)
    queue.put("held by key", Slot(("other", None)), priority=0, since_ms=2)
    queue.put("free", Slot(("fast", "2")), priority=9, since_ms=3)
    assert queue.take() == ("free", Slot(("fast", "2")))
    assert queue.take() is None
    assert [queue.full_limit(slot) for _, slot in queue.waiting()] == [
        "workflow:slow",
        "pool:gpu",
        "key:other\x1f",
    ]
    queue.release("run-2")
    assert drain(queue) == ["held by pool", "held by key"]
    queue.resize(Capacity(9))
    assert drain(queue) == ["held by workflow"]


def test_a_freed_place_costs_the_runs_it_frees_and_not_the_queue() -> None:
    """Ten thousand wait for one workflow: what another one frees must not look at them."""
    queue = RunQueue(Capacity(100, {"full": 1}), aging_ms=AGING_MS)
    queue.occupy("run-1", Slot(("full", "x")))
    for number in range(10_000):
        queue.put(f"f{number}", Slot(("full", str(number))), priority=0, since_ms=0)
    assert queue.take() is None
    looked: list[Slot] = []
    look = queue.full_limit

    def counting(slot: Slot) -> str | None:
        looked.append(slot)
        return look(slot)

    queue.full_limit = counting  # type: ignore[method-assign]
    for number in range(50):
        queue.put("other", Slot(("free", str(number))), priority=5, since_ms=0)
        assert drain(queue) == ["other"]
    assert len(looked) == 50
