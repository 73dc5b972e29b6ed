"""list_snapshot_events: what happened to a snapshot."""

from datetime import UTC, datetime

from snapshot_mcp.cloud.client import CloudReader
from snapshot_mcp.cloud.field_readers import read_integer
from snapshot_mcp.cloud.parsing import RawEntry, parse_event
from snapshot_mcp.models.cloud import SnapshotEvent
from snapshot_mcp.models.images import SnapshotEventList
from snapshot_mcp.operations.cursors import PageBuilder, Position, parse_cursor
from snapshot_mcp.operations.pagination import PageCollector

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


async def list_snapshot_events(
    reader: CloudReader, snapshot_id: int, limit: int, cursor: str
) -> SnapshotEventList:
    """Return one page of the events of a snapshot, newest first.

    Raises:
        RefusedError: the cursor belongs to another list.
        NotFoundError: there is no such snapshot.
        CloudError: the cloud gave no usable answer.
    """
    page = PageBuilder[SnapshotEvent](limit, parse_cursor(cursor, snapshot_id))
    foreign_count = 0

    def add(entry: RawEntry) -> None:
        nonlocal foreign_count
        # Never show what happened to another snapshot as if it had happened to this one.
        if read_integer(entry.raw.get("snapshot_id")) not in (None, snapshot_id):
            foreign_count += 1
            return
        event = parse_event(entry)
        page.add(_position(event), event)

    collected = PageCollector[None](add)
    collected.add_page(await reader.get_snapshot_events(snapshot_id))
    return SnapshotEventList(
        snapshot_id=snapshot_id,
        events=tuple(page.entries),
        total=page.count,
        next_cursor=page.next_cursor(snapshot_id),
        unreadable=(collected.unreadable_count + foreign_count) or None,
    )


def _position(event: SnapshotEvent) -> Position:
    seconds = ((event.time or _EPOCH) - _EPOCH).total_seconds()
    return -int(seconds * 1_000), -event.id
