"""What commands have and the API needs too, under public names: so that both say the same."""

from __future__ import annotations

from actors.interfaces.commands.explain import _explain_asset as explain_asset
from actors.interfaces.commands.plan import _policies as policies_of
from actors.interfaces.commands.status import _service_json as service_json
from actors.interfaces.commands.workflows import _summary as workflow_json

__all__ = ["explain_asset", "policies_of", "service_json", "workflow_json"]
