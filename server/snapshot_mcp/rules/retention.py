"""Which snapshots a retention policy keeps, and why.

The words and their meaning are restic's, so that who knows them is not surprised. Two things differ
because a snapshot here may be the only copy of a machine: what is not known for certain is kept,
and so is the newest ready snapshot of each VM.
"""

import unicodedata
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import UTC, datetime
from typing import NamedTuple

from snapshot_mcp.core.sanitize import quote_unless_word
from snapshot_mcp.models.cloud import MAX_ID, Snapshot
from snapshot_mcp.rules.retention_calendar import period_key, span_start, to_zone
from snapshot_mcp.rules.retention_policy import KEEP_ALL, CountRule, GroupBy, RetentionPolicy

FindProtection = Callable[[Snapshot], str | None]
Reasons = dict[int, list[str]]
"""Why snapshots are kept, by id; no entry, or an empty one, is a snapshot that nothing keeps."""

_LONG_AGO = datetime.min.replace(tzinfo=UTC)


class Decision(NamedTuple):
    """What becomes of one snapshot.

    Attributes:
        snapshot: the snapshot.
        keep: whether it stays.
        reasons: why, at least one; for one that goes, that no rule keeps it.
        group: the name of the group in which it was counted.
    """

    snapshot: Snapshot
    keep: bool
    reasons: tuple[str, ...]
    group: str


class _Group(NamedTuple):
    """What is counted together; VMs are in the order of their ids, texts in their own."""

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
    """Decide each snapshot once, ordered by group, then newest first and by falling id.

    Args:
        snapshots: the whole history; of several with the same id the last one is meant.
        policy: what to keep.
        now: a time after which no snapshot can have been taken, so `keep_within` does not trust it.
        find_protection: explains which rule forbids deleting a snapshot; None if no rule does.
        may_delete_last_copy: whether a VM's newest ready snapshot may go when no rule keeps it.

    Raises:
        ValueError: the policy is empty, so it would keep nothing.
    """
    if policy.is_empty:
        raise ValueError("a retention policy must keep something")
    once = {snapshot.id: snapshot for snapshot in snapshots}
    history = sorted(once.values(), key=_by_time, reverse=True)
    groups = _group_snapshots(history, policy.group_by)
    found: Reasons = {
        snapshot.id: _unconditional_reasons(snapshot, find_protection) for snapshot in history
    }
    for members in groups.values():
        # Protected ones are counted like all others: a rule that had to look past them would keep
        # more than it says, and as many again each time one more is protected.
        _add_rule_reasons([it for it in members if _is_countable(it)], policy, now, found)
    if not may_delete_last_copy:
        _add_last_copy_reasons(history, found)
    return [
        Decision(it, bool(found[it.id]), tuple(found[it.id] or ["no rule keeps it"]), group.name)
        for group in sorted(groups)
        for it in groups[group]
    ]


def _by_time(snapshot: Snapshot) -> tuple[datetime, int]:
    # Ids rise, so of two with the same time the higher id is the later one.
    return snapshot.created_at or _LONG_AGO, snapshot.id


def _group_snapshots(history: Iterable[Snapshot], by: GroupBy) -> dict[_Group, list[Snapshot]]:
    groups: dict[_Group, list[Snapshot]] = {}
    for snapshot in history:
        groups.setdefault(_group_of(snapshot, by), []).append(snapshot)
    return groups


def _group_of(snapshot: Snapshot, by: GroupBy) -> _Group:
    if by == "vm":
        number = snapshot.vm_id
        return _ungrouped("VM") if number is None else _Group((number, ()), f"VM {number}")
    texts = snapshot.labels if by == "label" else (snapshot.region or "",)
    words = tuple(sorted({text for text in texts if text}))
    if not words:
        return _ungrouped(by)
    name = ", ".join(map(quote_unless_word, words))
    return _Group((0, words), f"{by} {name}")


def _ungrouped(what: str) -> _Group:
    return _Group((MAX_ID + 1, ()), f"no {what}")  # the last of all


def _is_countable(snapshot: Snapshot) -> bool:
    return snapshot.state == "ready" and snapshot.created_at is not None


def _unconditional_reasons(snapshot: Snapshot, find_protection: FindProtection) -> list[str]:
    """What keeps a snapshot whatever the policy counts."""
    reasons: list[str] = []
    if snapshot.state == "unknown":
        reasons.append("its status is not known")
    elif snapshot.state != "ready":
        reasons.append(f"it is {snapshot.state}")
    if snapshot.created_at is None:
        reasons.append("its time is not known")
    if (sentence := find_protection(snapshot)) is not None:
        reasons.append(f"protected: {sentence}")
    return reasons


def _add_rule_reasons(
    members: Sequence[Snapshot], policy: RetentionPolicy, now: datetime, found: Reasons
) -> None:
    for member in members:
        found[member.id] += _label_reasons(member, policy.keep_labels)
    for member in _within_span(members, policy, now):
        found[member.id].append(f"within {policy.keep_within} of the newest")
    times = [to_zone(_creation_time(member), policy.time_zone) for member in members]
    for rule, count in policy.counts:
        for place, reason in _apply_count(rule, count, times):
            found[members[place].id].append(reason)


def _label_reasons(snapshot: Snapshot, wanted: Sequence[str]) -> Iterator[str]:
    own = {_fold(label) for label in snapshot.labels}
    yield from (f"label {quote_unless_word(label)}" for label in wanted if _fold(label) in own)
    if wanted and "labels" in (snapshot.altered or ()):
        yield "its labels are not known for certain"


def _fold(text: str) -> str:
    return unicodedata.normalize("NFC", text.casefold())


def _within_span(
    members: Sequence[Snapshot], policy: RetentionPolicy, now: datetime
) -> list[Snapshot]:
    within = policy.keep_within
    if within is None or within.is_zero:
        return []
    # A single snapshot dated in the future would otherwise make all others look old.
    newest = next((_creation_time(it) for it in members if _creation_time(it) < now), None)
    start = None if newest is None else span_start(within, newest, policy.time_zone)
    return [it for it in members if start is None or _creation_time(it) > start]


def _apply_count(
    rule: CountRule, count: int, times: Sequence[datetime]
) -> Iterator[tuple[int, str]]:
    """The places in `times`, which go from new to old, that a rule keeps, each with its reason.

    The oldest is kept too while the count is not used up, so that a short history stays whole.
    """
    used, previous = 0, ""
    for place, time in enumerate(times):
        if used == count:
            return
        current = str(place) if rule == "last" else period_key(rule, time)
        oldest = place == len(times) - 1
        if current == previous and not oldest:
            continue
        used += 1
        told = f"{rule} {used} of {'all' if count == KEEP_ALL else count}"
        if current == previous:
            told = f"oldest, {told}"
        elif rule != "last":
            told = f"{told}, {current}"
        previous = current
        yield place, told


def _creation_time(snapshot: Snapshot) -> datetime:
    return snapshot.created_at or _LONG_AGO


def _add_last_copy_reasons(history: Sequence[Snapshot], found: Reasons) -> None:
    """Keep the newest ready snapshot of each VM, and those that may be one.

    The newest is kept also where an older one stays: what a machine was last is what is asked for.
    """
    ready = [it for it in history if it.state == "ready"]
    kept_vms = {it.vm_id for it in ready if found[it.id]}
    newest = {it.vm_id: it.id for it in reversed(ready) if _is_countable(it)}
    for snapshot in ready:
        if found[snapshot.id]:
            continue
        if snapshot.vm_id is None:
            found[snapshot.id].append("its VM is not known, so it may be the last copy")
        elif newest[snapshot.vm_id] == snapshot.id:
            which = "newest" if snapshot.vm_id in kept_vms else "last"
            found[snapshot.id].append(f"the {which} ready copy of its VM")
