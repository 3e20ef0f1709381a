"""Constant-time book-keeping for `pykka.ActorRegistry`.

pykka keeps running actors in a list, so each stop searches and shifts it: stopping 100,000 actors costs
10^10 steps. The registry touches that list only through `append`, `remove`, `in`, iteration and `[:]`;
giving it a container with the same few operations over a dict makes starts and stops O(1) while every
caller of `pykka.ActorRegistry` (`get_all`, `get_by_class`, `broadcast`, `stop_all`, ...) still sees every
actor, whichever runtime it lives on. This is the least surprising seam: a registry of our own would hide
pooled actors from code that only knows pykka.

Importing `actors.runtime` installs it. Actors started earlier are carried over.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, cast, overload

from pykka import ActorRegistry

if TYPE_CHECKING:
    from pykka import ActorRef


class ActorIndex:
    """The list operations `ActorRegistry` uses, over a dict from URN to ref; iterates in order of start."""

    __slots__ = ("_by_urn",)

    def __init__(self) -> None:
        self._by_urn: dict[str, ActorRef[Any]] = {}

    def append(self, ref: ActorRef[Any]) -> None:
        self._by_urn[ref.actor_urn] = ref

    def remove(self, ref: ActorRef[Any]) -> None:
        """Forget `ref`.

        Raises:
            ValueError: if it is not registered, as `list.remove`
        """
        if ref not in self:
            msg = f"{ref} is not registered"
            raise ValueError(msg)
        del self._by_urn[ref.actor_urn]

    def get(self, actor_urn: str) -> ActorRef[Any] | None:
        return self._by_urn.get(actor_urn)

    def __contains__(self, ref: object) -> bool:
        urn = getattr(ref, "actor_urn", None)
        return urn is not None and self._by_urn.get(urn) is ref

    def __iter__(self) -> Iterator[ActorRef[Any]]:
        return iter(self._by_urn.values())

    def __len__(self) -> int:
        return len(self._by_urn)

    @overload
    def __getitem__(self, index: int) -> ActorRef[Any]: ...
    @overload
    def __getitem__(self, index: slice) -> list[ActorRef[Any]]: ...
    def __getitem__(self, index: int | slice) -> ActorRef[Any] | list[ActorRef[Any]]:
        return list(self._by_urn.values())[index]


def install() -> ActorIndex:
    """Put an index under `pykka.ActorRegistry`, once; later calls return the one that is there."""
    with ActorRegistry._actor_refs_lock:
        present: object = ActorRegistry._actor_refs
        if isinstance(present, ActorIndex):
            return present
        index = ActorIndex()
        for ref in ActorRegistry._actor_refs:
            index.append(ref)
        ActorRegistry._actor_refs = cast("list[ActorRef[Any]]", index)
        return index


def find_actor(actor_urn: str) -> ActorRef[Any] | None:
    """`ActorRegistry.get_by_urn` in constant time: the running actor of that URN, on any runtime, or None."""
    index = install()
    with ActorRegistry._actor_refs_lock:
        return index.get(actor_urn)
