"""Which entries of a list are wanted, and where each stands: made once, asked for each entry."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta

from snapshot_mcp.cloud.parsing import RawEntry, build_field_parser
from snapshot_mcp.models.cloud import snapshot_state
from snapshot_mcp.operations.cursors import Position
from snapshot_mcp.operations.requests import SnapshotFilter, SortOrder

Condition = Callable[[RawEntry], bool]
_LONG_AGO = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)


def conditions(wanted: SnapshotFilter) -> Iterator[Condition]:
    """What an entry must pass beside the search, which the cloud does.

    What leaves the fewest comes first: an entry that fails one is not read any further.
    """
    if wanted.vm_id:
        yield _of_vm(wanted.vm_id)
    if wanted.state != "any":
        yield _in_state(wanted.state)
    if wanted.label:
        yield _with_label(wanted.label)
    if wanted.created_after or wanted.created_before:
        yield _taken_between(wanted.created_after, wanted.created_before)


def position_in(order: SortOrder) -> Callable[[RawEntry], Position]:
    """Tells where an entry stands in `order`."""
    size, taken = build_field_parser("size"), build_field_parser("created_at")

    def largest(entry: RawEntry) -> Position:
        return -(size(entry) or 0), -entry.id

    def oldest(entry: RawEntry) -> Position:
        return _milliseconds(taken(entry) or _LONG_AGO), entry.id

    def newest(entry: RawEntry) -> Position:
        return -_milliseconds(taken(entry) or _LONG_AGO), -entry.id

    return {"largest": largest, "oldest": oldest, "newest": newest}[order]


def _milliseconds(moment: datetime) -> int:
    return (moment - _LONG_AGO) // _MILLISECOND


def _of_vm(vm_id: int) -> Condition:
    read = build_field_parser("vm_id")
    return lambda entry: read(entry) == vm_id


def _in_state(state: str) -> Condition:
    read = build_field_parser("status")
    return lambda entry: snapshot_state(read(entry)) == state


def _with_label(label: str) -> Condition:
    read, wanted = build_field_parser("labels"), label.casefold()
    return lambda entry: any(own.casefold() == wanted for own in read(entry) or ())


def _taken_between(after: datetime | None, before: datetime | None) -> Condition:
    read = build_field_parser("created_at")

    def passes(entry: RawEntry) -> bool:
        taken: datetime | None = read(entry)
        if taken is None:
            return False
        return (after is None or after <= taken) and (before is None or taken < before)

    return passes
