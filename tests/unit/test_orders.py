"""Orders reach the main thread, whichever thread a signal interrupts."""

from __future__ import annotations

import signal
import threading

from actors.orders import Orders


def test_what_is_put_comes_in_order() -> None:
    with Orders(()) as orders:
        for order in ("one", "two"):
            orders.put(order)
        assert [orders.get(), orders.get()] == ["one", "two"]


def test_a_signal_that_interrupts_another_thread_is_an_order() -> None:
    def interrupt_oneself() -> None:
        signal.pthread_kill(threading.get_ident(), signal.SIGUSR1)

    before = signal.getsignal(signal.SIGUSR1)
    with Orders([signal.SIGUSR1]) as orders:
        # Late enough that the main thread waits by then, as a rule; it may come at any moment.
        timer = threading.Timer(0.05, interrupt_oneself)
        timer.start()
        assert orders.get() == "SIGUSR1"
        timer.join()
    assert signal.getsignal(signal.SIGUSR1) is before


def test_what_is_put_after_it_was_left_is_of_no_harm() -> None:
    with Orders(()) as orders:
        pass
    orders.put("late")
