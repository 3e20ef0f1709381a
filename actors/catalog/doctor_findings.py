"""What the doctor tells: findings, and the suspicions that become one when a script has looked again."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from actors.catalog.scripts import ScriptName

__all__ = ["Finding", "Suspicion"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is not as it must be.

    `key` is where on the server, `item` which run, field or entry of it; `what` says what is wrong, `mend` what `--fix`
    does about it.
    """

    kind: str
    key: str
    item: str
    what: str
    mend: str

    @property
    def identity(self) -> tuple[str, str, str]:
        return self.kind, self.key, self.item


@dataclass(frozen=True, slots=True)
class Suspicion:
    """What will have been wrong if the script, with these arguments, says so."""

    finding: Finding
    script: ScriptName
    args: Mapping[str, Any]
