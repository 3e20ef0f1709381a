"""pykka actors on a few threads. Knows nothing of assets.

Importing it gives `pykka.ActorRegistry` constant-time book-keeping (see `actor_index`).
"""

from actors.runtime.actor_index import find_actor, install
from actors.runtime.bounded_mailbox import BoundedMailbox, MailboxFull
from actors.runtime.clock import Clock, SystemClock, VirtualClock
from actors.runtime.dispatcher import Dispatcher, DispatcherStats, Spawner, default_dispatcher
from actors.runtime.mailbox import Mailbox, tell_to_stop
from actors.runtime.pooled import PooledActor
from actors.runtime.stepped import SteppedDispatcher, longest_waiting
from actors.runtime.timers import TimerHandle, Timers, TimerThread, VirtualTimers

__all__ = [
    "BoundedMailbox",
    "Clock",
    "Dispatcher",
    "DispatcherStats",
    "Mailbox",
    "MailboxFull",
    "PooledActor",
    "Spawner",
    "SteppedDispatcher",
    "SystemClock",
    "TimerHandle",
    "TimerThread",
    "Timers",
    "VirtualClock",
    "VirtualTimers",
    "default_dispatcher",
    "find_actor",
    "longest_waiting",
    "tell_to_stop",
]

install()
