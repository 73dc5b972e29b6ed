"""Review all snapshots and VMs: orphans, failed snapshots, growth, and unprotected VMs.

Snapshots are added one by one and not kept: memory grows with the number of VMs and of entries in
the findings, not with the number of snapshots. An unknown fact never causes a finding.
"""

from bisect import insort
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from snapshot_mcp.models.cloud import Snapshot, status_word
from snapshot_mcp.models.review import (
    FoundSnapshot,
    FoundVm,
    Growth,
    GrowthFinding,
    Review,
    SnapshotFinding,
    VmFinding,
)
from snapshot_mcp.rules.cost import estimate_monthly_cost
from snapshot_mcp.rules.eligibility import is_stuck
from snapshot_mcp.rules.rehearsal import is_rehearsal

GROWTH_DAYS = 30
REVIEW_FIELDS = ("name", "status", "vm_id", "vm_name", "vm_status", "size", "created_at")
"""Fields of a snapshot that a review needs."""

_LONG_AGO = datetime.min.replace(tzinfo=UTC)


class ReviewedVm(NamedTuple):
    """Fields of a VM that a review needs."""

    id: int
    name: str
    status: str | None
    created_at: datetime | None
    obstacle: str | None = None
    """Why the cloud never snapshots it, or None."""


@dataclass
class _VmTotals:
    """Totals of one VM's snapshots."""

    name: str | None = None
    count: int = 0
    size: int = 0
    recent_count: int = 0
    recent_size: int = 0
    ready: int = 0
    newest: datetime | None = None
    has_undated: bool = False
    last_added_ready: Snapshot | None = None
    gone: bool = False


@dataclass
class _LargestSnapshots:
    """Counts snapshots, and keeps the largest `max_entries` of them."""

    max_entries: int
    count: int = 0
    size: int = 0
    largest: list[Snapshot] = field(default_factory=list[Snapshot])

    def add(self, snapshot: Snapshot) -> None:
        self.count += 1
        self.size += snapshot.size or 0
        insort(self.largest, snapshot, key=lambda entry: (-(entry.size or 0), entry.id))
        del self.largest[self.max_entries :]

    def finding(self) -> SnapshotFinding:
        return SnapshotFinding(
            count=self.count,
            size=self.size,
            snapshots=tuple(map(_found_snapshot, self.largest)),
            more=self.count - len(self.largest),
        )


class Reviewer:
    """Collects snapshots, each once and in any order, and returns the findings.

    Args:
        vms: the VMs, each once.
        now: the current time.
        all_listed: `vms` is complete, so a VM that it does not contain does not exist.
        recent_days: maximum age of a recent snapshot.
        max_entries: maximum number of entries in a finding.
    """

    def __init__(
        self,
        vms: Iterable[ReviewedVm],
        now: datetime,
        *,
        all_listed: bool = True,
        recent_days: int,
        max_entries: int,
    ) -> None:
        self._all_listed = all_listed
        self._existing_vms = {vm.id: vm for vm in vms if status_word(vm.status) != "DELETED"}
        self._recent_days = recent_days
        self._recent_since = now - timedelta(days=recent_days)
        self._growth_since = now - timedelta(days=GROWTH_DAYS)
        self._max_entries = max_entries
        self._gone_snapshots = _LargestSnapshots(max_entries)
        self._failed_snapshots = _LargestSnapshots(max_entries)
        self._stuck_snapshots = _LargestSnapshots(max_entries)
        self._deleting_snapshots = _LargestSnapshots(max_entries)
        self._now = now
        self._totals_by_vm: dict[int | None, _VmTotals] = {}
        self._size_not_known = 0

    def add(self, snapshot: Snapshot) -> None:
        """Add one snapshot."""
        gone = self._is_gone(snapshot)
        if snapshot.state == "deleting":
            self._deleting_snapshots.add(snapshot)
        elif gone:
            self._gone_snapshots.add(snapshot)
        if snapshot.state == "failed":
            self._failed_snapshots.add(snapshot)
        if is_stuck(snapshot, self._now):
            self._stuck_snapshots.add(snapshot)
        self._size_not_known += snapshot.size is None and snapshot.state == "ready"
        totals = self._totals_by_vm.setdefault(snapshot.vm_id, _VmTotals())
        totals.gone |= gone
        self._add_to_totals(totals, snapshot)

    def review(self) -> Review:
        """Return the findings about all added snapshots."""
        all_totals = self._totals_by_vm.values()
        size = sum(totals.size for totals in all_totals)
        return Review(
            snapshots=sum(totals.count for totals in all_totals),
            virtual_machines=len(self._existing_vms),
            size=size,
            size_not_known=self._size_not_known,
            month_cost_estimate=estimate_monthly_cost(size),
            recent_days=self._recent_days,
            vm_gone=self._gone_snapshots.finding(),
            failed=self._failed_snapshots.finding(),
            stuck=self._stuck_snapshots.finding(),
            deleting=self._deleting_snapshots.finding(),
            never_followed=self._never_followed(),
            no_recent=self._no_recent(),
            cannot_snapshot=self._cannot_snapshot(),
            rehearsals=self._rehearsals(),
            growth=self._growth(),
        )

    def _is_gone(self, snapshot: Snapshot) -> bool:
        if snapshot.vm_gone:
            return True
        if snapshot.vm_status or snapshot.vm_id is None:
            return False
        # Without a status, a VM that is not listed does not exist any more.
        return self._all_listed and snapshot.vm_id not in self._existing_vms

    def _add_to_totals(self, totals: _VmTotals, snapshot: Snapshot) -> None:
        taken, size = snapshot.created_at, snapshot.size or 0
        # Of several names, choose one independently of the order.
        totals.name = max(filter(None, (totals.name, snapshot.vm_name)), default=None)
        totals.count += 1
        totals.size += size
        if taken is not None and taken >= self._growth_since:
            totals.recent_count += 1
            totals.recent_size += size
        if snapshot.state != "ready":
            return
        totals.ready += 1
        totals.last_added_ready = snapshot
        totals.has_undated |= taken is None
        totals.newest = max(filter(None, (totals.newest, taken)), default=None)

    def _never_followed(self) -> SnapshotFinding:
        found = _LargestSnapshots(self._max_entries)
        for vm_id, totals in self._totals_by_vm.items():
            only = totals.last_added_ready
            if vm_id is None or totals.gone or totals.ready != 1 or only is None:
                continue
            if only.created_at is not None and only.created_at < self._recent_since:
                found.add(only)
        return found.finding()

    def _no_recent(self) -> VmFinding:
        found = [
            _found_vm(vm, totals)
            for vm in self._existing_vms.values()
            if not is_rehearsal(vm.name)
            and vm.obstacle is None
            and status_word(vm.status) != "DELETING"
            and not self._has_recent(totals := self._totals_of(vm))
        ]
        return _vm_finding(
            found, lambda vm: (vm.last_snapshot or _LONG_AGO, vm.id), self._max_entries
        )

    def _cannot_snapshot(self) -> VmFinding:
        found = [
            _found_vm(vm, self._totals_of(vm))
            for vm in self._existing_vms.values()
            if vm.obstacle is not None
        ]
        return _vm_finding(found, lambda vm: (vm.created_at or _LONG_AGO, vm.id), self._max_entries)

    def _has_recent(self, totals: _VmTotals) -> bool:
        # A snapshot of unknown age may be recent.
        return totals.has_undated or (
            totals.newest is not None and totals.newest >= self._recent_since
        )

    def _rehearsals(self) -> VmFinding:
        existing_vms = self._existing_vms.values()
        found = [_found_vm(vm, self._totals_of(vm)) for vm in existing_vms if is_rehearsal(vm.name)]
        return _vm_finding(found, lambda vm: (vm.created_at or _LONG_AGO, vm.id), self._max_entries)

    def _growth(self) -> GrowthFinding:
        grown = [
            Growth(
                vm_id=vm_id,
                vm_name=self._existing_vms[vm_id].name
                if vm_id in self._existing_vms
                else totals.name,
                recent_count=totals.recent_count,
                recent_size=totals.recent_size,
                count=totals.count,
                size=totals.size,
            )
            for vm_id, totals in self._totals_by_vm.items()
            if totals.recent_count
        ]
        grown.sort(
            key=lambda growth: (-growth.recent_size, -growth.recent_count, growth.vm_id or 0)
        )
        return GrowthFinding(
            count=len(grown),
            size=sum(growth.recent_size for growth in grown),
            virtual_machines=tuple(grown[: self._max_entries]),
            more=max(0, len(grown) - self._max_entries),
        )

    def _totals_of(self, vm: ReviewedVm) -> _VmTotals:
        return self._totals_by_vm.get(vm.id, _VmTotals())


def _found_snapshot(snapshot: Snapshot) -> FoundSnapshot:
    return FoundSnapshot(
        id=snapshot.id,
        name=snapshot.name,
        size=snapshot.size,
        created_at=snapshot.created_at,
        vm_id=snapshot.vm_id,
    )


def _found_vm(vm: ReviewedVm, totals: _VmTotals) -> FoundVm:
    return FoundVm(
        id=vm.id,
        name=vm.name,
        status=vm.status,
        created_at=vm.created_at,
        why_not=vm.obstacle,
        ready_snapshots=totals.ready,
        last_snapshot=totals.newest,
    )


def _vm_finding(
    found: Sequence[FoundVm], sort_key: Callable[[FoundVm], tuple[datetime, int]], max_entries: int
) -> VmFinding:
    return VmFinding(
        count=len(found),
        virtual_machines=tuple(sorted(found, key=sort_key)[:max_entries]),
        more=max(0, len(found) - max_entries),
    )
