"""What the workflows declare at this moment: those of the scenario, as they were altered since."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from tests.simulation.scenario import Quiet, Workflow

__all__ = ["Declared"]


class Declared:
    """`unsettled` are the workflows that were changed since all was still: their actors may not know yet. Of those that
    were `removed_once` nobody knew for a while how their assets are partitioned."""

    def __init__(self, workflows: Iterable[Workflow]) -> None:
        self.workflows = {workflow.slug: workflow for workflow in workflows}
        self.assets = {asset.asset_id: asset for workflow in self.workflows.values() for asset in workflow.assets}
        self._slug_of = {
            asset.asset_id: workflow.slug for workflow in self.workflows.values() for asset in workflow.assets
        }
        self.unsettled: set[str] = set()
        self.removed_once: set[str] = set()

    def slug_of(self, asset_id: str) -> str:
        return self._slug_of[asset_id]

    def alter(self, asset_id: str, name: str, value: Any) -> Workflow:
        """Give one field of an asset's declaration another value; the workflow as it is then."""
        slug = self._slug_of[asset_id]
        changed = replace(self.assets[asset_id], **{name: value})
        assets = tuple(changed if asset.asset_id == asset_id else asset for asset in self.workflows[slug].assets)
        self.workflows[slug] = replace(self.workflows[slug], assets=assets)
        self.assets[asset_id] = changed
        self.unsettled.add(slug)
        return self.workflows[slug]

    def silence(self, slug: str, quiet: Quiet | None) -> Workflow:
        """Give a workflow other quiet hours of its own; the workflow as it is then."""
        self.workflows[slug] = replace(self.workflows[slug], quiet=quiet)
        self.unsettled.add(slug)
        return self.workflows[slug]

    def quiets(self, asset_id: str) -> tuple[Quiet, ...]:
        """The quiet hours of an asset and of its workflow."""
        both = (self.assets[asset_id].quiet, self.workflows[self._slug_of[asset_id]].quiet)
        return tuple(quiet for quiet in both if quiet is not None)
