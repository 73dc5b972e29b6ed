"""What a review finds in all snapshots and VMs: orphans, waste, growth, and what is not protected.

Snapshots are taken in one by one and dropped; what stays in memory grows with the number of VMs
and of entries to name, not with that of snapshots. A fact that is not known accuses nothing.
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
from snapshot_mcp.rules.rehearsal import is_rehearsal

GROWTH_DAYS = 30
REVIEW_FIELDS = ("name", "status", "vm_id", "vm_name", "vm_status", "size", "created_at")
"""What a review needs of a snapshot."""

_LONG_AGO = datetime.min.replace(tzinfo=UTC)


class ReviewedVm(NamedTuple):
    """What a review needs of a VM."""

    id: int
    name: str
    status: str | None
    created_at: datetime | None


@dataclass
class _VmTotals:
    """What the snapshots of one VM came to so far."""

    name: str | None = None
    count: int = 0
    size: int = 0
    recent_count: int = 0
    recent_size: int = 0
    ready: int = 0
    last: datetime | None = None
    untimed: bool = False
    any_ready: Snapshot | None = None
    gone: bool = False


@dataclass
class _LargestSnapshots:
    """Counts snapshots, and keeps the largest `most` of them."""

    max_entries: int
    count: int = 0
    size: int = 0
    largest: list[Snapshot] = field(default_factory=list[Snapshot])

    def add(self, snapshot: Snapshot) -> None:
        self.count += 1
        self.size += snapshot.size or 0
        insort(self.largest, snapshot, key=lambda it: (-(it.size or 0), it.id))
        del self.largest[self.max_entries :]

    def finding(self) -> SnapshotFinding:
        return SnapshotFinding(
            count=self.count,
            size=self.size,
            snapshots=tuple(map(_found_snapshot, self.largest)),
            more=self.count - len(self.largest),
        )


class Reviewer:
    """Takes in snapshots, each once and in any order, and tells what there is to say.

    Args:
        vms: the VMs, each once.
        now: the time from which ages count.
        all_listed: these are all: a VM that is not among them does not exist.
        recent_days: how old a snapshot may be that still counts as recent.
        most: how many entries a finding names at most.
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
        self._totals_by_vm: dict[int | None, _VmTotals] = {}
        self._size_not_known = 0

    def add(self, snapshot: Snapshot) -> None:
        """Take in one snapshot."""
        gone = self._is_gone(snapshot)
        if gone:
            self._gone_snapshots.add(snapshot)
        if snapshot.state == "failed":
            self._failed_snapshots.add(snapshot)
        self._size_not_known += snapshot.size is None and snapshot.state == "ready"
        of_vm = self._totals_by_vm.setdefault(snapshot.vm_id, _VmTotals())
        of_vm.gone |= gone
        self._add_to_totals(of_vm, snapshot)

    def review(self) -> Review:
        """What all the snapshots taken in so far come to."""
        size = sum(it.size for it in self._totals_by_vm.values())
        return Review(
            snapshots=sum(it.count for it in self._totals_by_vm.values()),
            virtual_machines=len(self._existing_vms),
            size=size,
            size_not_known=self._size_not_known,
            month_cost_estimate=estimate_monthly_cost(size),
            recent_days=self._recent_days,
            vm_gone=self._gone_snapshots.finding(),
            failed=self._failed_snapshots.finding(),
            never_followed=self._never_followed(),
            no_recent=self._no_recent(),
            rehearsals=self._rehearsals(),
            growth=self._growth(),
        )

    def _is_gone(self, snapshot: Snapshot) -> bool:
        if snapshot.vm_gone:
            return True
        if snapshot.vm_status or snapshot.vm_id is None:
            return False
        # Where its status is not told, a VM that is in no list is gone as well.
        return self._all_listed and snapshot.vm_id not in self._existing_vms

    def _add_to_totals(self, of_vm: _VmTotals, snapshot: Snapshot) -> None:
        taken, size = snapshot.created_at, snapshot.size or 0
        # Of several names, one that does not depend on the order in which they come.
        of_vm.name = max(filter(None, (of_vm.name, snapshot.vm_name)), default=None)
        of_vm.count += 1
        of_vm.size += size
        if taken is not None and taken >= self._growth_since:
            of_vm.recent_count += 1
            of_vm.recent_size += size
        if snapshot.state != "ready":
            return
        of_vm.ready += 1
        of_vm.any_ready = snapshot
        of_vm.untimed |= taken is None
        of_vm.last = max(filter(None, (of_vm.last, taken)), default=None)

    def _never_followed(self) -> SnapshotFinding:
        found = _LargestSnapshots(self._max_entries)
        for vm_id, of_vm in self._totals_by_vm.items():
            only = of_vm.any_ready
            if vm_id is None or of_vm.gone or of_vm.ready != 1 or only is None:
                continue
            if only.created_at is not None and only.created_at < self._recent_since:
                found.add(only)
        return found.finding()

    def _no_recent(self) -> VmFinding:
        found = [
            _found_vm(vm, of_vm)
            for vm in self._existing_vms.values()
            if not is_rehearsal(vm.name) and not self._has_recent(of_vm := self._totals_of(vm))
        ]
        return _vm_finding(
            found, lambda it: (it.last_snapshot or _LONG_AGO, it.id), self._max_entries
        )

    def _has_recent(self, of_vm: _VmTotals) -> bool:
        # One of unknown age may be recent.
        return of_vm.untimed or (of_vm.last is not None and of_vm.last >= self._recent_since)

    def _rehearsals(self) -> VmFinding:
        living = self._existing_vms.values()
        found = [_found_vm(vm, self._totals_of(vm)) for vm in living if is_rehearsal(vm.name)]
        return _vm_finding(found, lambda it: (it.created_at or _LONG_AGO, it.id), self._max_entries)

    def _growth(self) -> GrowthFinding:
        grown = [
            Growth(
                vm_id=vm_id,
                vm_name=self._existing_vms[vm_id].name if vm_id in self._existing_vms else it.name,
                recent_count=it.recent_count,
                recent_size=it.recent_size,
                count=it.count,
                size=it.size,
            )
            for vm_id, it in self._totals_by_vm.items()
            if it.recent_count
        ]
        grown.sort(key=lambda it: (-it.recent_size, -it.recent_count, it.vm_id or 0))
        return GrowthFinding(
            count=len(grown),
            size=sum(it.recent_size for it in grown),
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


def _found_vm(vm: ReviewedVm, of_vm: _VmTotals) -> FoundVm:
    return FoundVm(
        id=vm.id,
        name=vm.name,
        status=vm.status,
        created_at=vm.created_at,
        ready_snapshots=of_vm.ready,
        last_snapshot=of_vm.last,
    )


def _vm_finding(
    found: Sequence[FoundVm], place: Callable[[FoundVm], tuple[datetime, int]], max_entries: int
) -> VmFinding:
    return VmFinding(
        count=len(found),
        virtual_machines=tuple(sorted(found, key=place)[:max_entries]),
        more=max(0, len(found) - max_entries),
    )
