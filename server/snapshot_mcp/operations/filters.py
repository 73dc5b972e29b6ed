"""Filters and sort orders of a list of snapshots, built once and applied to each raw entry."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta

from snapshot_mcp.cloud.parsing import RawEntry, build_field_parser
from snapshot_mcp.models.cloud import snapshot_state
from snapshot_mcp.operations.cursors import Position
from snapshot_mcp.operations.requests import SnapshotFilter, SortOrder

Condition = Callable[[RawEntry], bool]
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)


def build_conditions(wanted: SnapshotFilter) -> Iterator[Condition]:
    """Yield the conditions of a filter, except the search, which the cloud does.

    The most selective condition comes first: the rest of an entry that fails it is never read.
    """
    if wanted.vm_id:
        yield _has_vm(wanted.vm_id)
    if wanted.state != "any":
        yield _has_state(wanted.state)
    if wanted.label:
        yield _has_label(wanted.label)
    if wanted.created_after or wanted.created_before:
        yield _created_between(wanted.created_after, wanted.created_before)


def build_position_getter(order: SortOrder) -> Callable[[RawEntry], Position]:
    """Return a function that returns the position of an entry in `order`."""
    size, created_at = build_field_parser("size"), build_field_parser("created_at")

    def largest(entry: RawEntry) -> Position:
        return -(size(entry) or 0), -entry.id

    def oldest(entry: RawEntry) -> Position:
        return _milliseconds(created_at(entry) or _EPOCH), entry.id

    def newest(entry: RawEntry) -> Position:
        return -_milliseconds(created_at(entry) or _EPOCH), -entry.id

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
    parse, wanted = build_field_parser("labels"), label.casefold()
    return lambda entry: any(own.casefold() == wanted for own in parse(entry) or ())


def _created_between(after: datetime | None, before: datetime | None) -> Condition:
    parse = build_field_parser("created_at")

    def passes(entry: RawEntry) -> bool:
        created_at: datetime | None = parse(entry)
        if created_at is None:
            return False
        return (after is None or after <= created_at) and (before is None or created_at < before)

    return passes
