"""The graph of all workflows for those that only look at it: made once, until a definition changes."""

from __future__ import annotations

from actors.catalog.definitions import WorkflowDefinition
from actors.catalog.store import Store
from actors.core.graph import Graph
from actors.interfaces.graph_view import graph_of

__all__ = ["known_graph"]


class _Last:
    """Replaced as a whole, because several threads look."""

    made: tuple[list[WorkflowDefinition], Graph] | None = None


def known_graph(store: Store) -> Graph:
    """The graph of the catalog's workflows. Do not change it: it is shared by all who ask.

    To make one costs in proportion to the graph; a store that gives the very same definitions again says that it is
    still that one.

    Raises:
        CatalogUnavailable: the catalog cannot be reached.
    """
    definitions = store.workflows()
    last = _Last.made
    if last is not None and _are_same(last[0], definitions):
        return last[1]
    graph, _ = graph_of(definitions)
    _Last.made = definitions, graph
    return graph


def _are_same(some: list[WorkflowDefinition], others: list[WorkflowDefinition]) -> bool:
    return len(some) == len(others) and all(a is b for a, b in zip(some, others, strict=True))
