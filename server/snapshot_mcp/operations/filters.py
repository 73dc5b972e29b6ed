"""Filters and sort orders of a list of snapshots, built once and applied to each raw entry."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta

from snapshot_mcp.cloud.parsing import RawEntry, build_field_parser
from snapshot_mcp.models.cloud import MAX_ID, snapshot_state
from snapshot_mcp.operations.cursors import Position
from snapshot_mcp.operations.requests import SnapshotFilter, SortOrder

Condition = Callable[[RawEntry], bool]
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)
_UNKNOWN_LAST = MAX_ID
"""Position of a snapshot of unknown age, which is neither the oldest nor the newest."""


def build_conditions(snapshot_filter: SnapshotFilter) -> Iterator[Condition]:
    """Yield the conditions of a filter, except the search, which the cloud does.

    The most selective condition comes first. The other fields of an entry that fails it are not
    parsed.
    """
    if snapshot_filter.vm_id:
        yield _has_vm(snapshot_filter.vm_id)
    if snapshot_filter.state != "any":
        yield _has_state(snapshot_filter.state)
    if snapshot_filter.label:
        yield _has_label(snapshot_filter.label)
    if snapshot_filter.created_after or snapshot_filter.created_before:
        yield _created_between(snapshot_filter.created_after, snapshot_filter.created_before)


def build_position_getter(order: SortOrder) -> Callable[[RawEntry], Position]:
    """Return a function that returns the position of an entry in `order`."""
    size, created_at = build_field_parser("size"), build_field_parser("created_at")

    def largest(entry: RawEntry) -> Position:
        return -(size(entry) or 0), -entry.id

    def oldest(entry: RawEntry) -> Position:
        taken = created_at(entry)
        return _UNKNOWN_LAST if taken is None else _milliseconds(taken), entry.id

    def newest(entry: RawEntry) -> Position:
        taken = created_at(entry)
        return _UNKNOWN_LAST if taken is None else -_milliseconds(taken), -entry.id

    return {"largest": largest, "oldest": oldest, "newest": newest}[order]


def _milliseconds(moment: datetime) -> int:
    return (moment - _EPOCH) // _MILLISECOND


def _has_vm(vm_id: int) -> Condition:
    parse = build_field_parser("vm_id")
    return lambda entry: parse(entry) == vm_id


def _has_state(state: str) -> Condition:
    parse = build_field_parser("status")
    return lambda entry: snapshot_state(parse(entry)) == state


def _has_label(label: str) -> Condition:
    parse, folded_label = build_field_parser("labels"), label.casefold()
    return lambda entry: any(
        entry_label.casefold() == folded_label for entry_label in parse(entry) or ()
    )


def _created_between(after: datetime | None, before: datetime | None) -> Condition:
    parse = build_field_parser("created_at")

    def is_between(entry: RawEntry) -> bool:
        created_at: datetime | None = parse(entry)
        if created_at is None:
            return False
        return (after is None or after <= created_at) and (before is None or created_at < before)

    return is_between
