"""review_snapshots: read all snapshots and VMs once, and only the fields that the review needs."""

from collections.abc import Callable
from datetime import timedelta

import anyio

from snapshot_mcp.cloud.client import CloudReader
from snapshot_mcp.cloud.parsing import RawEntry, parse_partial_snapshot, parse_virtual_machine
from snapshot_mcp.core.clock import Clock
from snapshot_mcp.core.errors import CloudError, ProtocolError
from snapshot_mcp.models.review import Review
from snapshot_mcp.operations.pagination import PAGE_SIZE, PageCollector, collect_pages
from snapshot_mcp.rules.eligibility import permanent_obstacle
from snapshot_mcp.rules.review import REVIEW_FIELDS, ReviewedVm, Reviewer

SPEND_PERIOD = timedelta(days=30)
SPEND_TIMEOUT_SECONDS = 10.0
"""A review does not wait longer for the billing history, which it can do without."""


class ReviewOperations:
    """The review of all snapshots and VMs; it changes nothing.

    Args:
        reader: the reading half of the cloud client.
        clock: the current time.
    """

    def __init__(self, reader: CloudReader, clock: Clock) -> None:
        self._reader = reader
        self._clock = clock

    async def review(self, recent_days: int, max_entries: int) -> Review:
        """Return orphans, waste, growth and unprotected VMs. Raises as `collect_pages`.

        Args:
            recent_days: the age in days up to which a snapshot counts as recent.
            max_entries: the number of entries that a finding lists at most.
        """
        vms = await collect_pages(
            lambda page: self._reader.get_virtual_machines_page(page, PAGE_SIZE, ""),
            lambda: _reviewed_vm,
            decides=True,
        )

        def start_review() -> Reviewer:
            return Reviewer(
                vms.results,
                self._clock.now(),
                all_listed=not vms.unreadable_count,
                recent_days=recent_days,
                max_entries=max_entries,
            )

        reviewer = start_review()

        def start() -> Callable[[RawEntry], None]:
            nonlocal reviewer
            reviewer = start_review()
            return lambda entry: reviewer.add(parse_partial_snapshot(entry, REVIEW_FIELDS))

        collected: PageCollector[None] = await collect_pages(
            lambda page: self._reader.get_snapshots_page(page, PAGE_SIZE, "", REVIEW_FIELDS),
            start,
            decides=True,
        )
        unreadable = vms.unreadable_count + collected.unreadable_count
        facts = {"unreadable": unreadable or None, "month_spend": await self._read_month_spend()}
        return reviewer.review().model_copy(update=facts)

    async def _read_month_spend(self) -> float | None:
        now = self._clock.now()
        with anyio.move_on_after(SPEND_TIMEOUT_SECONDS):
            try:
                spend = await self._reader.billing.get_snapshot_spend(now - SPEND_PERIOD, now)
            except (CloudError, ProtocolError):
                return None
            return None if spend is None else round(spend, 2)
        return None


def _reviewed_vm(entry: RawEntry) -> ReviewedVm:
    vm = parse_virtual_machine(entry.raw)
    return ReviewedVm(vm.id, vm.name, vm.status, vm.created_at, permanent_obstacle(vm))
