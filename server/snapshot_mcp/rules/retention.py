"""Retention: decide which snapshots to keep, and why.

The rules and their meaning are those of restic, so its users know them. Two things differ because a
snapshot may be the only copy of a VM: a snapshot with unknown facts is kept, and so is the newest
ready snapshot of each VM.
"""

import unicodedata
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import UTC, datetime
from typing import NamedTuple

from snapshot_mcp.core.sanitize import quote_unless_word
from snapshot_mcp.models.cloud import MAX_ID, Snapshot
from snapshot_mcp.rules.eligibility import describe_state
from snapshot_mcp.rules.retention_calendar import period_key, span_start, to_zone
from snapshot_mcp.rules.retention_policy import KEEP_ALL, CountRule, GroupBy, RetentionPolicy

FindProtection = Callable[[Snapshot], str | None]
Reasons = dict[int, list[str]]
"""The reasons to keep each snapshot, by id; an empty list means that nothing keeps it."""

_LONG_AGO = datetime.min.replace(tzinfo=UTC)


class Decision(NamedTuple):
    """The decision about one snapshot.

    Attributes:
        snapshot: the snapshot.
        keep: False if it is to be deleted.
        reasons: at least one reason; for a deletion, that no rule keeps it.
        group: name of the group in which it was counted.
    """

    snapshot: Snapshot
    keep: bool
    reasons: tuple[str, ...]
    group: str


class _Group(NamedTuple):
    """Snapshots that are counted together; sorted by VM id or by text."""

    order: tuple[int, tuple[str, ...]]
    name: str


def decide_retention(
    snapshots: Iterable[Snapshot],
    policy: RetentionPolicy,
    *,
    now: datetime,
    find_protection: FindProtection,
    may_delete_last_copy: bool,
) -> list[Decision]:
    """Decide each snapshot once; the result is sorted by group, then newest first.

    Args:
        snapshots: the complete history; of several with the same id, the last one counts.
        policy: the rules.
        now: the current time; `keep_within` ignores times after it as a reference.
        find_protection: explains which rule forbids deleting a snapshot; None if no rule does.
        may_delete_last_copy: whether a VM's newest ready snapshot may be deleted.

    Raises:
        ValueError: the policy is empty, so it would keep no snapshot.
    """
    if policy.is_empty:
        raise ValueError("the retention policy is empty: it would keep no snapshot")
    by_id = {snapshot.id: snapshot for snapshot in snapshots}
    history = sorted(by_id.values(), key=_by_time, reverse=True)
    groups = _group_snapshots(history, policy.group_by)
    reasons: Reasons = {
        snapshot.id: _unconditional_reasons(snapshot, policy, find_protection)
        for snapshot in history
    }
    for members in groups.values():
        # Protected snapshots are counted too. If rules skipped them, each protected snapshot would
        # cause one more snapshot to be kept than the rule says.
        countable = [
            member
            for member in members
            if _is_countable(member) and not _unknown_fact(member, policy.group_by)
        ]
        _add_rule_reasons(countable, policy, now, reasons)
    if not may_delete_last_copy:
        _add_last_copy_reasons(history, reasons)
    return [
        _decision(snapshot, reasons[snapshot.id], group.name)
        for group in sorted(groups)
        for snapshot in groups[group]
    ]


def _decision(snapshot: Snapshot, reasons: list[str], group: str) -> Decision:
    return Decision(snapshot, bool(reasons), tuple(reasons or ["no rule keeps it"]), group)


def _by_time(snapshot: Snapshot) -> tuple[datetime, int]:
    # Ids increase, so of two with the same time the higher id is newer.
    return snapshot.created_at or _LONG_AGO, snapshot.id


def _group_snapshots(history: Iterable[Snapshot], by: GroupBy) -> dict[_Group, list[Snapshot]]:
    groups: dict[_Group, list[Snapshot]] = {}
    for snapshot in history:
        groups.setdefault(_group_of(snapshot, by), []).append(snapshot)
    return groups


def _group_of(snapshot: Snapshot, by: GroupBy) -> _Group:
    if unknown := _unknown_fact(snapshot, by):
        return _Group((MAX_ID + 1, ()), f"unknown {unknown}")  # sorted last
    if by == "vm":
        return _Group((snapshot.vm_id or 0, ()), f"VM {snapshot.vm_id}")
    if by == "region" and not _has_region_name(snapshot):
        # It may be a region that other snapshots have by its name. More groups only keep more.
        return _Group((snapshot.region_id or 0, ()), f"region {snapshot.region_id}")
    texts = snapshot.labels or () if by == "label" else (snapshot.region or "",)
    words = tuple(sorted({text for text in texts if text}))
    if not words:
        return _Group((MAX_ID, ()), f"no {by}")
    name = ", ".join(map(quote_unless_word, words))
    return _Group((0, words), f"{by} {name}")


def _unknown_fact(snapshot: Snapshot, by: GroupBy) -> str:
    """Return the unknown fact on which the group of a snapshot depends; empty if it is known.

    Such a snapshot is kept and not counted: its value may be that of any group.
    """
    match by:
        case "vm":
            return "VM" if snapshot.vm_id is None else ""
        case "region":
            known = _has_region_name(snapshot) or snapshot.region_id is not None
            return "" if known else "region"
        case "label":
            known = snapshot.labels is not None and "labels" not in (snapshot.altered or ())
            return "" if known else "labels"


def _has_region_name(snapshot: Snapshot) -> bool:
    return bool(snapshot.region) and "region" not in (snapshot.altered or ())


def _is_countable(snapshot: Snapshot) -> bool:
    return snapshot.state == "ready" and snapshot.created_at is not None


def _unconditional_reasons(
    snapshot: Snapshot, policy: RetentionPolicy, find_protection: FindProtection
) -> list[str]:
    """Return the reasons to keep a snapshot that do not depend on other snapshots."""
    reasons: list[str] = []
    if snapshot.state == "unknown":
        reasons.append("its status is unknown")
    elif snapshot.state != "ready":
        reasons.append(f"it is {describe_state(snapshot)}")
    if snapshot.created_at is None:
        reasons.append("its creation time is unknown")
    unknown = _unknown_fact(snapshot, policy.group_by)
    if unknown and unknown != "labels":
        reasons.append(f"its {unknown} is unknown")
    if unknown == "labels" or (policy.keep_labels and snapshot.labels is None):
        reasons.append("its labels are unknown")
    if (explanation := find_protection(snapshot)) is not None:
        reasons.append(f"protected: {explanation}")
    return reasons


def _add_rule_reasons(
    members: Sequence[Snapshot], policy: RetentionPolicy, now: datetime, reasons: Reasons
) -> None:
    for member in members:
        reasons[member.id] += _label_reasons(member, policy.keep_labels)
    for member in _within_span(members, policy, now):
        reasons[member.id].append(f"within {policy.keep_within} of the newest")
    times = [to_zone(_creation_time(member), policy.time_zone) for member in members]
    for rule, count in policy.counts:
        for index, reason in _apply_count(rule, count, times):
            reasons[members[index].id].append(reason)


def _label_reasons(snapshot: Snapshot, wanted: Sequence[str]) -> Iterator[str]:
    snapshot_labels = {_fold(label) for label in snapshot.labels or ()}
    yield from (
        f"label {quote_unless_word(label)}" for label in wanted if _fold(label) in snapshot_labels
    )
    if wanted and "labels" in (snapshot.altered or ()):
        yield "its labels are not certain"


def _fold(text: str) -> str:
    return unicodedata.normalize("NFC", text.casefold())


def _within_span(
    members: Sequence[Snapshot], policy: RetentionPolicy, now: datetime
) -> list[Snapshot]:
    span = policy.keep_within
    if span is None or span.is_zero:
        return []
    # Ignore times in the future: one of them would make all other snapshots look old.
    newest = next((time for time in map(_creation_time, members) if time < now), None)
    start = None if newest is None else span_start(span, newest, policy.time_zone)
    return [member for member in members if start is None or _creation_time(member) > start]


def _apply_count(
    rule: CountRule, count: int, times: Sequence[datetime]
) -> Iterator[tuple[int, str]]:
    """Yield the indexes in `times` (newest first) that a rule keeps, each with its reason.

    The oldest is kept too while the count is not used up, so a short history is kept completely.
    """
    used, previous = 0, ""
    for index, time in enumerate(times):
        if used == count:
            return
        current = str(index) if rule == "last" else period_key(rule, time)
        oldest = index == len(times) - 1
        if current == previous and not oldest:
            continue
        used += 1
        reason = f"{rule} {used} of {'all' if count == KEEP_ALL else count}"
        if current == previous:
            reason = f"oldest, {reason}"
        elif rule != "last":
            reason = f"{reason}, {current}"
        previous = current
        yield index, reason


def _creation_time(snapshot: Snapshot) -> datetime:
    return snapshot.created_at or _LONG_AGO


def _add_last_copy_reasons(history: Sequence[Snapshot], reasons: Reasons) -> None:
    """Keep the newest ready snapshot of each VM, and those of an unknown VM.

    The newest is kept even if an older one is kept: users need the latest state of a VM most.
    """
    ready = [snapshot for snapshot in history if snapshot.state == "ready"]
    kept_vms = {snapshot.vm_id for snapshot in ready if reasons[snapshot.id]}
    countable = filter(_is_countable, reversed(ready))
    newest = {snapshot.vm_id: snapshot.id for snapshot in countable}
    for snapshot in ready:
        if reasons[snapshot.id]:
            continue
        if snapshot.vm_id is None:
            reasons[snapshot.id].append("its VM is unknown, so it may be the last copy")
        elif newest[snapshot.vm_id] == snapshot.id:
            rank = "newest" if snapshot.vm_id in kept_vms else "last"
            reasons[snapshot.id].append(f"the {rank} ready copy of its VM")
