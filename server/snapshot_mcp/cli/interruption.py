"""The report about an interrupted call: what was done, what is open, and how to check.

It comes from the ledger, because a progress notification may be older than the last write.
"""

import json
from collections.abc import Sequence
from datetime import datetime

from snapshot_mcp.core.clock import utc_now
from snapshot_mcp.core.errors import NOTHING_CHANGED, LedgerError
from snapshot_mcp.ledger.backend import open_ledger_backend
from snapshot_mcp.ledger.chain import Row
from snapshot_mcp.settings.environment import LEDGER_FILE, Settings

_CHECK = "To check: `snapshot-mcp ledger` shows each request and its result."
_CONTINUES = "What the cloud accepted continues there."
_SETTLED_LATER = "The next command of snapshot-mcp looks for its effect and records it."
_BATCH_TOOL = "apply_retention"
_ENDS = {"done": "Done", "failed": "Not done", "unknown": "Result unknown"}
_OPEN = "Result not known yet"


async def describe_interruption(settings: Settings, client: str, since: datetime) -> str:
    """Return sentences about the changes that this client requested.

    Args:
        settings: the settings of the call.
        client: the name of the client in the ledger.
        since: when the call began.
    """
    folder, url = settings.data_folder(), settings.database_url
    if url is None and not (folder / LEDGER_FILE).exists():
        return f"Interrupted. {NOTHING_CHANGED}"
    try:
        with open_ledger_backend(folder, url, utc_now, settings.find_signing_key()) as backend:
            rows = await backend.ledger.rows(since=since)
    except LedgerError as error:
        return f"Interrupted. Requests may have been sent, but the ledger cannot be read: {error}"
    return describe_rows([row for row in rows if row.client == client])


def describe_rows(rows: Sequence[Row]) -> str:
    """Return sentences about the attempts in these rows, which are in the ledger's order."""
    sent = [row for row in rows if row.event == "sent" and row.tool != _BATCH_TOOL]
    if not sent:
        return f"Interrupted. {NOTHING_CHANGED}"
    ends = {row.attempt: row for row in rows if row.event in _ENDS}
    groups: dict[str, list[str]] = {}
    for row in sent:
        end = ends.get(row.attempt)
        groups.setdefault(_ENDS[end.event] if end else _OPEN, []).append(_describe(end or row))
    lines = ["Interrupted."]
    lines += [f"{heading}: {', '.join(items)}." for heading, items in groups.items()]
    lines += [
        f"The batch: {end.reason.removeprefix('interrupted; ')}."
        for end in ends.values()
        if end.tool == _BATCH_TOOL
    ]
    lines += [_CONTINUES] if _ENDS["done"] in groups else []
    lines += [_SETTLED_LATER] if _OPEN in groups else []
    return "\n".join([*lines, _CHECK])


def _describe(row: Row) -> str:
    created = json.loads(row.arguments).get("result_id")
    return f"{row.tool} {row.target}" + (f" (new id {created})" if created else "")
