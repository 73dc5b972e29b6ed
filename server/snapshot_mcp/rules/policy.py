"""The operator's policy: actions that this server never performs, even if a person confirms them.

A policy only forbids, and an empty one forbids nothing. The one exception is that it can permit
retention to delete the last copy. The rules are checked in a fixed order, and the first violation
is reported. An unknown fact counts as a violation.
"""

import unicodedata
from collections.abc import Iterable
from datetime import datetime, timedelta
from fnmatch import fnmatchcase
from typing import Annotated, NamedTuple

from pydantic import AfterValidator, ConfigDict, Field

from snapshot_mcp.core.sanitize import is_sanitized, quoted
from snapshot_mcp.models.cloud import (
    STATES_WITHOUT_DATA,
    FrozenModel,
    Id,
    Snapshot,
    VirtualMachine,
)

MAX_ENTRY_LENGTH = 100
MAX_ENTRIES = 100
MAX_HOURS = 87_600
"""Ten years."""
MAX_KEEP_NEWEST = 1_000
MAX_PER_HOUR = 1_000


def _normalize_entry(text: str) -> str:
    text = unicodedata.normalize("NFC", text)
    if not is_sanitized(text):
        # The cloud's text is sanitized, so such an entry would never match anything.
        raise ValueError(
            "must not contain line breaks, control or invisible characters, or spaces at its ends"
        )
    return text


PolicyEntry = Annotated[
    str, Field(min_length=1, max_length=MAX_ENTRY_LENGTH), AfterValidator(_normalize_entry)
]
# TOML has lists, and a frozen model has tuples.
_LIST_FIELD = Field(max_length=MAX_ENTRIES, strict=False)
PolicyEntries = Annotated[tuple[PolicyEntry, ...], _LIST_FIELD]
Ids = Annotated[tuple[Id, ...], _LIST_FIELD]
Count = Annotated[int, Field(ge=0, le=MAX_PER_HOUR)]


class _Section(FrozenModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class Protect(_Section):
    """Snapshots that are never deleted.

    Attributes:
        labels: snapshots with one of these labels, ignoring case.
        names: snapshots whose name or VM name matches one of these shell patterns, ignoring case.
        vm_ids: snapshots of these VMs.
        minimum_age_hours: snapshots younger than this.
        keep_newest: this number of the newest ready snapshots of each VM.
        keep_last_copy: the last ready snapshot of each VM.
    """

    labels: PolicyEntries = ()
    names: PolicyEntries = ()
    vm_ids: Ids = ()
    minimum_age_hours: int = Field(default=0, ge=0, le=MAX_HOURS)
    keep_newest: int = Field(default=0, ge=0, le=MAX_KEEP_NEWEST)
    keep_last_copy: bool = False


class Limits(_Section):
    """Limits for sixty minutes; None is no limit, 0 allows none.

    Attributes:
        deletes_per_hour: number of deletions sent.
        restores_per_hour: number of restores sent.
    """

    deletes_per_hour: Count | None = None
    restores_per_hour: Count | None = None


class RetentionSection(_Section):
    """Permissions for retention.

    Attributes:
        may_delete_last_copy: it may delete the newest ready snapshot of a VM if no rule keeps it.
    """

    may_delete_last_copy: bool = False


class Allow(_Section):
    """Allow-lists; None allows everything, an empty list nothing.

    Attributes:
        regions: regions in which changes are allowed.
        tools: tools that are listed and callable.
    """

    regions: PolicyEntries | None = None
    tools: PolicyEntries | None = None


class Policy(_Section):
    """The operator's policy. An empty one forbids nothing."""

    protect: Protect = Protect()
    limits: Limits = Limits()
    retention: RetentionSection = RetentionSection()
    allow: Allow = Allow()


class PolicyViolation(NamedTuple):
    """A rule of the policy that forbids an action.

    Attributes:
        rule: the rule's name, as in the policy file.
        explanation: one sentence about this case, without text from the cloud.
    """

    rule: str
    explanation: str

    @property
    def message(self) -> str:
        """The explanation, and the rule that it follows from."""
        return f"{self.explanation} Rule: {self.rule}."


def check_deletion(
    policy: Policy, snapshot: Snapshot, siblings: Iterable[Snapshot], now: datetime
) -> PolicyViolation | None:
    """Return the rule that forbids deleting `snapshot`, or None.

    Args:
        policy: the operator's policy.
        snapshot: the target.
        siblings: all snapshots of the same VM, with or without the target.
        now: the current time.
    """
    return _check_tool(policy, "delete_snapshot") or check_protection(
        policy, snapshot, siblings, now
    )


def check_protection(
    policy: Policy, snapshot: Snapshot, siblings: Iterable[Snapshot], now: datetime
) -> PolicyViolation | None:
    """Return the rule that protects `snapshot`, or None. Arguments as in `check_deletion`."""
    protect = policy.protect
    counts_copies = protect.keep_newest or protect.keep_last_copy
    copies = _known_ready_copies(snapshot, siblings) if counts_copies else []
    return (
        _check_region(policy, _snapshot_region(snapshot))
        or _check_labels(protect, snapshot)
        or _check_names(protect, snapshot)
        or _check_vm_ids(protect, snapshot)
        or _check_minimum_age(protect, snapshot, now)
        or _check_keep_newest(protect, snapshot, copies)
        or _check_keep_last_copy(protect, snapshot, copies)
    )


def check_hourly_limit(policy: Policy, tool: str, sent_last_hour: int) -> PolicyViolation | None:
    """Return the limit that forbids another write of `tool` now, or None.

    Args:
        policy: the operator's policy.
        tool: name of the tool.
        sent_last_hour: number of its writes sent in the last sixty minutes.
    """
    match tool:
        case "delete_snapshot":
            limit = policy.limits.deletes_per_hour
            return _check_limit("deletes_per_hour", "deletion", limit, sent_last_hour)
        case "restore_snapshot":
            limit = policy.limits.restores_per_hour
            return _check_limit("restores_per_hour", "restore", limit, sent_last_hour)
        case _:
            return None


def check_restore(policy: Policy, snapshot: Snapshot) -> PolicyViolation | None:
    """Return the rule that forbids restoring `snapshot`, or None."""
    return _check_tool(policy, "restore_snapshot") or _check_region(
        policy, _snapshot_region(snapshot)
    )


def check_creation(policy: Policy, region: str | None) -> PolicyViolation | None:
    """Return the rule that forbids a snapshot of a VM in `region`, or None."""
    return _check_tool(policy, "create_snapshot") or _check_region(policy, region)


def check_image(policy: Policy, snapshot: Snapshot) -> PolicyViolation | None:
    """Return the rule that forbids an image of `snapshot`, or None."""
    return _check_tool(policy, "create_image_from_snapshot") or _check_region(
        policy, _snapshot_region(snapshot)
    )


def check_vm_deletion(policy: Policy, region: str | None) -> PolicyViolation | None:
    """Return the rule that forbids deleting a rehearsal's VM in `region`, or None."""
    return _check_tool(policy, "delete_rehearsal_vm") or _check_region(policy, region)


def allows_tool(policy: Policy, name: str) -> bool:
    """Return whether the policy allows this tool to be listed and called."""
    return policy.allow.tools is None or name in policy.allow.tools


def vm_region(vm: VirtualMachine) -> str | None:
    """Return the region of `vm` for `check_creation`; None if it is not certain."""
    altered = {"environment.region", "flavor.region_name"} & set(vm.altered or ())
    return None if altered else vm.region


def _snapshot_region(snapshot: Snapshot) -> str | None:
    return None if _is_altered(snapshot, "region") else snapshot.region


def _check_tool(policy: Policy, name: str) -> PolicyViolation | None:
    if allows_tool(policy, name):
        return None
    return PolicyViolation("allow.tools", f"The operator's policy does not allow {name}.")


def _check_region(policy: Policy, region: str | None) -> PolicyViolation | None:
    allowed = policy.allow.regions
    if allowed is None:
        return None
    if not region:
        sentence = (
            "The region is unknown, and the operator's policy allows changes only in some regions."
        )
    elif _fold(region) in map(_fold, allowed):
        return None
    else:
        sentence = "The operator's policy does not allow changes in this region."
    return PolicyViolation("allow.regions", sentence)


def _check_labels(protect: Protect, snapshot: Snapshot) -> PolicyViolation | None:
    snapshot_labels = {_fold(label) for label in snapshot.labels or ()}
    for label in protect.labels:
        if _fold(label) in snapshot_labels:
            return PolicyViolation(
                "protect.labels",
                f"Snapshot {snapshot.id} has the label {quoted(label)}, which the operator's"
                " policy protects.",
            )
    if protect.labels and (snapshot.labels is None or _is_altered(snapshot, "labels")):
        return PolicyViolation(
            "protect.labels",
            f"The labels of snapshot {snapshot.id} are unknown or too many, or contain hidden or"
            " excess characters, so it may have one that the operator's policy protects.",
        )
    return None


def _check_names(protect: Protect, snapshot: Snapshot) -> PolicyViolation | None:
    for pattern in protect.names:
        if _matches_pattern(snapshot.name, pattern) or _matches_pattern(
            snapshot.vm_name or "", pattern
        ):
            return PolicyViolation(
                "protect.names",
                f"The name of snapshot {snapshot.id} or of its VM matches {quoted(pattern)}, which"
                " the operator's policy protects.",
            )
    known = snapshot.name and snapshot.vm_name and not _is_altered(snapshot, "name", "vm_name")
    if protect.names and not known:
        return PolicyViolation(
            "protect.names",
            f"The name of snapshot {snapshot.id} or of its VM is unknown, or contains hidden or"
            " excess characters, so it may be one that the operator's policy protects.",
        )
    return None


def _check_vm_ids(protect: Protect, snapshot: Snapshot) -> PolicyViolation | None:
    if not protect.vm_ids or (snapshot.vm_id and snapshot.vm_id not in protect.vm_ids):
        return None
    if snapshot.vm_id:
        sentence = f"The operator's policy protects all snapshots of VM {snapshot.vm_id}."
    else:
        sentence = (
            f"The VM of snapshot {snapshot.id} is unknown, and the operator's policy protects"
            " the snapshots of some VMs."
        )
    return PolicyViolation("protect.vm_ids", sentence)


def _check_minimum_age(
    protect: Protect, snapshot: Snapshot, now: datetime
) -> PolicyViolation | None:
    hours, taken = protect.minimum_age_hours, snapshot.created_at
    if not hours or (taken is not None and now - taken >= timedelta(hours=hours)):
        return None
    age = "younger than" if taken else "of unknown age, and may be younger than"
    return PolicyViolation(
        "protect.minimum_age_hours",
        f"Snapshot {snapshot.id} is {age} the {_pluralize(hours, 'hour')} for which the operator's"
        " policy keeps every snapshot.",
    )


def _check_keep_newest(
    protect: Protect, snapshot: Snapshot, copies: list[Snapshot] | None
) -> PolicyViolation | None:
    kept = protect.keep_newest
    if not kept or snapshot.state in STATES_WITHOUT_DATA:
        return None
    if copies is not None and len(newer_copies(snapshot, copies)) >= kept:
        return None
    newest = f"the newest {kept} ready snapshots" if kept > 1 else "the newest ready snapshot"
    return PolicyViolation(
        "protect.keep_newest",
        f"The operator's policy keeps {newest} of each VM, and snapshot {snapshot.id} is, or may"
        " be, one of them.",
    )


def _check_keep_last_copy(
    protect: Protect, snapshot: Snapshot, copies: list[Snapshot] | None
) -> PolicyViolation | None:
    if not protect.keep_last_copy or snapshot.state in STATES_WITHOUT_DATA or copies:
        return None
    sentence = (
        f"The VM of snapshot {snapshot.id} is unknown, so it may be the last copy"
        if copies is None
        else f"No other snapshot of the VM of snapshot {snapshot.id} is ready"
    )
    return PolicyViolation(
        "protect.keep_last_copy", f"{sentence}, and the operator's policy keeps the last one."
    )


def _check_limit(
    rule: str, noun: str, limit: int | None, sent_last_hour: int
) -> PolicyViolation | None:
    if limit is None or sent_last_hour < limit:
        return None
    sentence = (
        f"allows {_pluralize(limit, noun)} in sixty minutes, and that number was reached."
        if limit
        else f"allows no {noun}s."
    )
    return PolicyViolation(f"limits.{rule}", f"The operator's policy {sentence}")


def _known_ready_copies(snapshot: Snapshot, siblings: Iterable[Snapshot]) -> list[Snapshot] | None:
    """Return the other ready snapshots of its VM; None if its VM is unknown."""
    if snapshot.vm_id is None:
        return None
    others = {
        other.id: other
        for other in siblings
        if other.id != snapshot.id and other.vm_id == snapshot.vm_id and other.is_copy
    }
    return list(others.values())


def newer_copies(snapshot: Snapshot, copies: Iterable[Snapshot]) -> list[Snapshot]:
    """Return the copies that are certainly newer than `snapshot`.

    Of two from the same moment, the one with the higher id is newer.
    """
    taken = snapshot.created_at
    return [
        other
        for other in copies
        if taken and other.created_at and (other.created_at, other.id) > (taken, snapshot.id)
    ]


def _is_altered(snapshot: Snapshot, *fields: str) -> bool:
    return any(field in fields for field in snapshot.altered or ())


def _matches_pattern(name: str, pattern: str) -> bool:
    # Match the original too: folding changes the length of some letters and the ends of ranges.
    return fnmatchcase(_fold(name), _fold(pattern)) or fnmatchcase(name, pattern)


def _fold(text: str) -> str:
    return unicodedata.normalize("NFC", text.casefold())


def _pluralize(number: int, noun: str) -> str:
    return f"{number} {noun}" + ("" if number == 1 else "s")
