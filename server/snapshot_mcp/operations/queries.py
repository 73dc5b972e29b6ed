"""The operations that only read: list, inspect, suggest."""

from collections.abc import Awaitable
from functools import partial

from snapshot_mcp.cloud.client import Page
from snapshot_mcp.core.clock import Clock
from snapshot_mcp.models.cloud import VirtualMachine
from snapshot_mcp.models.images import SnapshotEventList
from snapshot_mcp.models.snapshots import SnapshotDetails, SnapshotList, VirtualMachineList
from snapshot_mcp.operations import listing
from snapshot_mcp.operations.cache import TtlCache
from snapshot_mcp.operations.consistent_reader import ConsistentReader
from snapshot_mcp.operations.events import list_snapshot_events
from snapshot_mcp.operations.lookups import read_snapshot
from snapshot_mcp.operations.pagination import PageCollector
from snapshot_mcp.operations.requests import SnapshotFilter, SuggestionKind
from snapshot_mcp.operations.suggestions import Suggestions, suggest
from snapshot_mcp.rules import blast_radius as blast
from snapshot_mcp.rules.eligibility import is_stuck


class Queries:
    """The operations that change nothing.

    Args:
        reader: reads the cloud.
        clock: the current time.
    """

    def __init__(self, reader: ConsistentReader, clock: Clock) -> None:
        self._reader = reader
        self._clock = clock
        self._vms = TtlCache[PageCollector[VirtualMachine]](clock)
        self._pages = TtlCache[Page](clock)

    async def snapshots(
        self, snapshot_filter: SnapshotFilter, limit: int, cursor: str
    ) -> SnapshotList:
        """Return one page of the snapshots that pass the filter, as `listing.list_snapshots`."""
        return await listing.list_snapshots(self._reader, snapshot_filter, limit, cursor)

    async def virtual_machines(self, search: str, limit: int, cursor: str) -> VirtualMachineList:
        """Return one page of VMs, as `listing.list_virtual_machines`.

        Later pages come from the same cached list as the first page, for a few seconds.
        """
        # A first page is always read from the cloud, because the caller may be following a restore.
        read = self._vms.get if cursor else self._vms.refresh

        def find(name: str) -> Awaitable[PageCollector[VirtualMachine]]:
            return read(
                name, partial(listing.find_virtual_machines, self._reader, name, decides=False)
            )

        return await listing.list_virtual_machines(find, search, limit, cursor)

    async def snapshot(self, snapshot_id: int) -> SnapshotDetails:
        """Return one snapshot in full, and its place among the snapshots of its VM.

        Raises:
            NotFoundError: there is no such snapshot.
            CloudError: the cloud gave no usable answer.
        """
        snapshot = await read_snapshot(self._reader, snapshot_id)
        siblings = await listing.read_snapshots_of_vm(self._reader, snapshot.vm_id)
        now = self._clock.now()
        return SnapshotDetails(
            snapshot=snapshot,
            state=snapshot.state,
            age_days=blast.age_days(snapshot, now),
            stuck=is_stuck(snapshot, now) or None,
            vm_gone=snapshot.vm_gone,
            last_ready_of_vm=blast.is_last_ready(snapshot, siblings),
            newest_of_vm=blast.is_newest_ready(snapshot, siblings),
            derived_image=blast.describe_derived_image(snapshot),
        )

    async def snapshot_events(self, snapshot_id: int, limit: int, cursor: str) -> SnapshotEventList:
        """Return one page of the events of a snapshot, as `events.list_snapshot_events`."""
        return await list_snapshot_events(self._reader, snapshot_id, limit, cursor)

    async def suggestions(self, kind: SuggestionKind, typed: str) -> Suggestions:
        """Return the completions of the text that a person has typed, as `suggestions.suggest`."""
        return await suggest(self._reader, self._pages, kind, typed)
