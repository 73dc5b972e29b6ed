"""Reviewing all snapshots: read once, page by page, and no more of each than the review needs."""

from snapshot_mcp.cloud.client import CloudReader
from snapshot_mcp.cloud.parsing import RawEntry, parse_partial_snapshot, parse_virtual_machine
from snapshot_mcp.core.clock import Clock
from snapshot_mcp.models.review import Review
from snapshot_mcp.operations.pagination import PAGE_SIZE, PageCollector, collect
from snapshot_mcp.rules.review import REVIEW_FIELDS, ReviewedVm, Reviewer


class ReviewOperations:
    """Looking at all snapshots and VMs at once; changes nothing.

    Args:
        reader: the reading half of the cloud.
        clock: the time.
    """

    def __init__(self, reader: CloudReader, clock: Clock) -> None:
        self._reader = reader
        self._clock = clock

    async def review(self, recent_days: int, most: int) -> Review:
        """Orphans, waste, growth, and what is not protected. Errors as in `pages.collect`.

        Args:
            recent_days: how old a snapshot may be that still counts as recent.
            most: how many entries a finding names at most.
        """
        vms = await collect(
            lambda page: self._reader.get_virtual_machines_page(page, PAGE_SIZE, ""), _reviewed
        )
        reviewer = Reviewer(
            vms.kept,
            self._clock.now(),
            all_listed=not vms.unreadable,
            recent_days=recent_days,
            max_entries=most,
        )
        collected: PageCollector[None] = await collect(
            lambda page: self._reader.get_snapshots_page(page, PAGE_SIZE, "", REVIEW_FIELDS),
            lambda entry: reviewer.add(parse_partial_snapshot(entry, REVIEW_FIELDS)),
        )
        unreadable = vms.unreadable + collected.unreadable
        return reviewer.review().model_copy(update={"unreadable": unreadable or None})


def _reviewed(entry: RawEntry) -> ReviewedVm:
    vm = parse_virtual_machine(entry.raw)
    return ReviewedVm(vm.id, vm.name, vm.status, vm.created_at)
