"""The dispatcher: who runs when, on which thread, and how it all ends."""

from __future__ import annotations

import gc
import logging
import sys
import threading
import weakref
from collections.abc import Callable, Iterator
from typing import Any, Self

import pykka
import pytest

from actors.runtime import Dispatcher, Mailbox, PooledActor, default_dispatcher
from tests.unit.runtime.runtimes import DEADLINE_SECONDS, eventually


class Echo(PooledActor):
    def on_receive(self, message: object) -> object:
        return message


class WhereAmI(PooledActor):
    """Answers with the name of its thread."""

    def on_receive(self, message: object) -> str:
        return threading.current_thread().name


def where(ref: pykka.ActorRef[WhereAmI]) -> str:
    """The name of the thread that `ref` runs on."""
    name: str = ref.ask("?", timeout=DEADLINE_SECONDS, block=True)
    return name


class Calls(PooledActor):
    """Calls what it is told, and answers with what that returned."""

    def on_receive(self, message: Callable[[], object]) -> object:
        return message()


class Stuck(PooledActor):
    """Does not return from its handler until it may."""

    def __init__(self, may_go: threading.Event) -> None:
        super().__init__()
        self.reached = threading.Event()
        self._may_go = may_go

    def on_receive(self, message: object) -> None:
        self.reached.set()
        assert self._may_go.wait(DEADLINE_SECONDS)


class Tangle(PooledActor):
    """Notices if two threads are in it at once, or if a message is lost, doubled or out of its sender's order."""

    def __init__(self, senders: int, messages: int, finished: threading.Semaphore) -> None:
        super().__init__()
        self.faults: list[str] = []
        self._alone = threading.Lock()
        self._next = [0] * senders
        self._left = senders * messages
        self._finished = finished

    def on_receive(self, message: tuple[int, int]) -> None:
        if not self._alone.acquire(blocking=False):
            self.faults.append(f"{message} was handled while another message was")
            return
        sender, number = message
        if self._next[sender] != number:
            self.faults.append(f"sender {sender}: {number} came instead of {self._next[sender]}")
        self._next[sender] = number + 1
        self._left -= 1
        if self._left == 0:
            self._finished.release()
        self._alone.release()


@pytest.fixture
def _switching_often() -> Iterator[None]:
    """Let threads take turns every few instructions rather than every 5 ms, so that every race gets its chance."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


@pytest.mark.usefixtures("_switching_often")
@pytest.mark.parametrize(("threads", "batch"), [(1, 1), (4, 1), (4, 3), (3, 64)])
def test_no_wake_up_is_lost_and_no_actor_runs_twice_at_once(threads: int, batch: int) -> None:
    """Mailboxes that are nearly always empty, so that each message meets an actor that is just going idle."""
    senders, messages, actors = 4, 400, 6
    finished = threading.Semaphore(0)
    with Dispatcher(threads, batch, "test") as dispatcher:
        refs = [dispatcher.spawn(Tangle, senders, messages, finished) for _ in range(actors)]
        tangles = [ref._actor_weakref() for ref in refs]
        together = threading.Barrier(senders)

        def send(sender: int) -> None:
            together.wait(DEADLINE_SECONDS)
            for number in range(messages):
                for ref in refs:
                    ref.tell((sender, number))

        running = [threading.Thread(target=send, args=(sender,)) for sender in range(senders)]
        for thread in running:
            thread.start()
        for _ in refs:
            assert finished.acquire(timeout=DEADLINE_SECONDS), "an actor did not get all of its messages"
        for thread in running:
            thread.join()
        assert [tangle.faults for tangle in tangles if tangle is not None] == [[]] * actors
        eventually(lambda: dispatcher.stats().handled == senders * messages * actors, "all is counted")


@pytest.mark.usefixtures("_switching_often")
def test_a_ping_pong_of_actors_going_idle_never_stalls() -> None:
    class Player(PooledActor):
        def __init__(self, finished: threading.Event) -> None:
            super().__init__()
            self._finished = finished

        def on_receive(self, message: tuple[pykka.ActorRef[PooledActor], int]) -> None:
            partner, left = message
            if left == 0:
                self._finished.set()
            else:
                partner.tell((self.actor_ref, left - 1))

    with Dispatcher(threads=3, name="test") as dispatcher:
        events = [threading.Event() for _ in range(5)]
        for finished in events:
            one, two = dispatcher.spawn(Player, finished), dispatcher.spawn(Player, finished)
            one.tell((two, 2_000))
        for finished in events:
            assert finished.wait(DEADLINE_SECONDS)


def test_a_flooded_actor_does_not_starve_another_on_the_same_thread() -> None:
    flood = 5_000
    with Dispatcher(threads=1, batch=10, name="test") as dispatcher:
        may_go = threading.Event()
        blocker = dispatcher.spawn(Stuck, may_go)
        blocker.tell("hold the only thread while the mail piles up")
        flooded = dispatcher.spawn(Echo)
        for number in range(flood):
            flooded.tell(number)
        mailbox = flooded.actor_inbox
        assert isinstance(mailbox, Mailbox)
        answer = dispatcher.spawn(Calls).ask(mailbox.__len__, block=False)
        may_go.set()
        # Two turns of ten: on_start of the flooded one came first, and its mail with it.
        assert answer.get(timeout=DEADLINE_SECONDS) >= flood - 2 * 10


def test_an_actor_that_feeds_itself_does_not_starve_another() -> None:
    class Restless(PooledActor):
        def on_receive(self, message: object) -> None:
            self.actor_ref.tell(message)

    with Dispatcher(threads=1, name="test") as dispatcher:
        restless = dispatcher.spawn(Restless)
        restless.tell("again")
        assert dispatcher.spawn(Echo).ask("my turn?", timeout=DEADLINE_SECONDS) == "my turn?"
        restless.stop(timeout=DEADLINE_SECONDS)


def test_actors_run_on_the_threads_of_their_dispatcher(dispatcher: Dispatcher) -> None:
    names = {where(dispatcher.spawn(WhereAmI)) for _ in range(20)}
    assert names <= {"test-0", "test-1"}


def test_a_pinned_actor_has_one_thread_of_its_own_while_it_lives(dispatcher: Dispatcher) -> None:
    ref = dispatcher.spawn_pinned(WhereAmI)
    assert {where(ref) for _ in range(5)} == {"test-WhereAmI"}
    assert dispatcher.stats().pinned == 1
    ref.stop(timeout=DEADLINE_SECONDS)
    eventually(lambda: "test-WhereAmI" not in {t.name for t in threading.enumerate()}, "the thread is gone")
    assert dispatcher.stats().pinned == 0
    assert dispatcher.stats().handled == 6


def test_blocked_pinned_actors_leave_the_pool_free() -> None:
    with Dispatcher(threads=1, name="test") as dispatcher:
        may_go = threading.Event()
        for _ in range(3):
            dispatcher.spawn_pinned(Stuck, may_go).tell("block")
        assert dispatcher.spawn(Echo).ask("free?", timeout=DEADLINE_SECONDS) == "free?"
        may_go.set()


@pytest.mark.parametrize("pinned", [False, True])
def test_children_live_on_the_pool_of_their_parent(dispatcher: Dispatcher, pinned: bool) -> None:
    parent = dispatcher.spawn_pinned(Calls) if pinned else dispatcher.spawn(Calls)
    child: pykka.ActorRef[WhereAmI] = parent.ask(WhereAmI.start, timeout=DEADLINE_SECONDS, block=True)
    assert where(child) in {"test-0", "test-1"}


def test_an_actor_started_in_the_init_of_a_pinned_one_is_on_the_pool(dispatcher: Dispatcher) -> None:
    class Parent(WhereAmI):
        def __init__(self) -> None:
            self.child = WhereAmI.start()  # before super().__init__(), where it could take the parent's place
            super().__init__()

    ref = dispatcher.spawn_pinned(Parent)
    parent = ref._actor_weakref()
    assert parent is not None
    assert ref.ask("?", timeout=DEADLINE_SECONDS) == "test-Parent"
    assert where(parent.child).startswith("headwater-default-")
    parent.child.stop(timeout=DEADLINE_SECONDS)


def test_a_failed_spawn_leaves_nothing_behind(dispatcher: Dispatcher) -> None:
    class Unborn(PooledActor):
        def __init__(self) -> None:
            msg = "no"
            raise LookupError(msg)

    class NeverStarts(PooledActor):
        @classmethod
        def start(cls, *args: Any, **kwargs: Any) -> pykka.ActorRef[Self]:
            msg = "not even tried"
            raise LookupError(msg)

    for unlucky in (Unborn, NeverStarts):
        with pytest.raises(LookupError):
            dispatcher.spawn_pinned(unlucky)
    ref = WhereAmI.start()
    assert where(ref).startswith("headwater-default-")
    ref.stop(timeout=DEADLINE_SECONDS)
    assert dispatcher.stats().actors == 0


def test_start_without_a_dispatcher_uses_the_default_one() -> None:
    ref = WhereAmI.start()
    assert where(ref).startswith("headwater-default-")
    assert default_dispatcher() is default_dispatcher()
    ref.stop(timeout=DEADLINE_SECONDS)
    stopped = default_dispatcher()
    assert stopped.stop(DEADLINE_SECONDS) == []
    again = WhereAmI.start()
    assert where(again).startswith("headwater-default-")
    again.stop(timeout=DEADLINE_SECONDS)
    assert default_dispatcher() is not stopped


def test_only_pooled_actors_can_be_spawned(dispatcher: Dispatcher) -> None:
    class Other(pykka.ThreadingActor): ...

    with pytest.raises(TypeError, match=r"cannot spawn .*Other.* not a subclass of PooledActor"):
        dispatcher.spawn(Other)  # type: ignore[type-var]


def test_actors_spawned_before_the_start_wait_for_it() -> None:
    dispatcher = Dispatcher(threads=1, name="test")
    answer = dispatcher.spawn(Echo).ask("early", block=False)
    assert dispatcher.stats().runnable == 1
    dispatcher.start()
    assert answer.get(timeout=DEADLINE_SECONDS) == "early"
    dispatcher.stop(DEADLINE_SECONDS)


def test_stop_lets_actors_finish_their_mail_and_ends_the_threads() -> None:
    log: list[object] = []

    class Logs(PooledActor):
        def on_receive(self, message: object) -> None:
            log.append(message)

        def on_stop(self) -> None:
            log.append("stopped")

    dispatcher = Dispatcher(threads=2, name="test-of-stop")
    dispatcher.start()
    ref = dispatcher.spawn(Logs)
    for number in range(100):
        ref.tell(number)
    assert dispatcher.stop(DEADLINE_SECONDS) == []
    assert log == [*range(100), "stopped"]
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("test-of-stop")]


def test_stop_on_one_thread_stops_the_last_started_first() -> None:
    log: list[str] = []

    class Named(PooledActor):
        def __init__(self, name: str) -> None:
            super().__init__()
            self._name = name

        def on_stop(self) -> None:
            log.append(self._name)

    with Dispatcher(threads=1, name="test") as dispatcher:
        for name in "abcd":
            dispatcher.spawn(Named, name)
        eventually(lambda: dispatcher.stats().runnable == 0, "all have started")
    assert log == ["d", "c", "b", "a"]


def test_stop_before_the_start_stops_what_was_spawned() -> None:
    dispatcher = Dispatcher(threads=1, name="test")
    ref = dispatcher.spawn(Echo)
    assert dispatcher.stop(DEADLINE_SECONDS) == []
    assert not ref.is_alive()


def test_an_actor_with_more_mail_than_time_is_stopped_urgently() -> None:
    """Each message takes the actor a while, so the stop behind a thousand of them would be too late."""

    class Slow(PooledActor):
        handled = 0
        has_stopped = False

        def on_receive(self, message: threading.Event) -> None:
            message.wait(0.01)
            Slow.handled += 1

        def on_stop(self) -> None:
            Slow.has_stopped = True

    never = threading.Event()
    dispatcher = Dispatcher(threads=1, name="test")
    dispatcher.start()
    ref = dispatcher.spawn(Slow)
    for _ in range(1_000):
        ref.tell(never)
    asked = ref.ask(never, block=False)
    assert dispatcher.stop(timeout_seconds=1.0) == []
    assert Slow.has_stopped
    assert 0 < Slow.handled < 1_000
    with pytest.raises(pykka.ActorDeadError):
        asked.get(timeout=DEADLINE_SECONDS)


def test_stop_names_the_actors_that_hang(caplog: pytest.LogCaptureFixture) -> None:
    may_go = threading.Event()
    dispatcher = Dispatcher(threads=2, name="test")
    dispatcher.start()
    hanging = dispatcher.spawn(Stuck, may_go)
    other = dispatcher.spawn(Echo)
    actor = hanging._actor_weakref()
    assert actor is not None
    hanging.tell("hang")
    asked = hanging.ask("never handled", block=False)
    assert actor.reached.wait(DEADLINE_SECONDS)
    with caplog.at_level(logging.ERROR):
        assert dispatcher.stop(timeout_seconds=0.05) == [hanging]
    assert f"dispatcher test stopped with 1 actors still in a handler: {hanging}" in caplog.text
    assert not other.is_alive()
    may_go.set()  # and the stop that was sent urgently gets in before the mail
    with pytest.raises(pykka.ActorDeadError):
        asked.get(timeout=DEADLINE_SECONDS)
    assert hanging.actor_stopped.wait(DEADLINE_SECONDS)


def test_a_stopped_dispatcher_takes_no_more_actors() -> None:
    dispatcher = Dispatcher(threads=1, name="test")
    dispatcher.start()
    dispatcher.stop(DEADLINE_SECONDS)
    for spawn in (dispatcher.spawn, dispatcher.spawn_pinned):
        with pytest.raises(RuntimeError, match=r"Echo .* cannot start: dispatcher test is stopped"):
            spawn(Echo)
    assert pykka.ActorRegistry.get_by_class(Echo) == []
    with pytest.raises(RuntimeError, match="cannot start: it is stopped"):
        dispatcher.start()
    assert dispatcher.stop(DEADLINE_SECONDS) == []


@pytest.mark.parametrize("pinned", [False, True])
def test_an_actor_cannot_stop_its_own_dispatcher(dispatcher: Dispatcher, pinned: bool) -> None:
    ref = dispatcher.spawn_pinned(Calls) if pinned else dispatcher.spawn(Calls)
    with pytest.raises(RuntimeError, match="cannot be stopped by an actor of its own"):
        ref.ask(dispatcher.stop, timeout=DEADLINE_SECONDS)


def test_an_idle_thread_does_not_keep_the_last_actor_alive() -> None:
    with Dispatcher(threads=1, name="test") as dispatcher:
        ref = dispatcher.spawn(Echo)
        actor = ref._actor_weakref()
        assert actor is not None
        seen = weakref.ref(actor)
        del actor
        ref.stop(timeout=DEADLINE_SECONDS)

        def freed() -> bool:
            gc.collect()
            return seen() is None

        eventually(freed, "the stopped actor is freed")


def test_a_thread_outlives_an_actor_that_raises_everywhere(caplog: pytest.LogCaptureFixture) -> None:
    class Hopeless(PooledActor):
        def on_receive(self, message: object) -> None:
            raise SystemExit(message)

        def on_stop(self) -> None:
            raise SystemExit

    with Dispatcher(threads=1, name="test") as dispatcher:
        ref = dispatcher.spawn(Hopeless)
        ref.tell("now")
        assert ref.actor_stopped.wait(DEADLINE_SECONDS)
        assert dispatcher.spawn(Echo).ask("still there?", timeout=DEADLINE_SECONDS) == "still there?"
    assert "raised SystemExit" in caplog.text


def test_a_base_exception_in_on_start_does_not_leave_a_dead_actor_that_seems_alive() -> None:
    class StillBorn(PooledActor):
        def on_start(self) -> None:
            raise SystemExit

    with Dispatcher(threads=1, name="test") as dispatcher:
        other = dispatcher.spawn(Echo)
        answer = dispatcher.spawn(StillBorn).ask("alive?", block=False)
        with pytest.raises(pykka.ActorDeadError):
            answer.get(timeout=DEADLINE_SECONDS)
        assert other.actor_stopped.wait(DEADLINE_SECONDS)


def test_a_base_exception_from_an_ask_reaches_the_caller_too(dispatcher: Dispatcher) -> None:
    def leave() -> None:
        raise SystemExit(3)

    answer = dispatcher.spawn(Calls).ask(leave, block=False)
    with pytest.raises(SystemExit):
        answer.get(timeout=DEADLINE_SECONDS)


def test_stats_count_what_happened() -> None:
    may_go = threading.Event()
    with Dispatcher(threads=1, name="test") as dispatcher:
        stuck = dispatcher.spawn(Stuck, may_go)
        stuck.tell("hold the only thread")
        actor = stuck._actor_weakref()
        assert actor is not None
        assert actor.reached.wait(DEADLINE_SECONDS)
        echo = dispatcher.spawn(Echo)
        answers = [echo.ask(number, block=False) for number in range(5)]
        stats = dispatcher.stats()
        assert (stats.threads, stats.actors, stats.runnable, stats.pinned) == (1, 2, 1, 0)
        may_go.set()
        assert [answer.get(timeout=DEADLINE_SECONDS) for answer in answers] == list(range(5))
        eventually(lambda: dispatcher.stats().handled == 6, "all messages are counted")
        assert dispatcher.stats().max_mailbox_depth == 5


@pytest.mark.parametrize(("threads", "batch"), [(0, 1), (1, 0)])
def test_a_dispatcher_that_could_do_nothing_is_refused(threads: int, batch: int) -> None:
    with pytest.raises(ValueError, match=f"threads={threads}, batch={batch}"):
        Dispatcher(threads, batch)
