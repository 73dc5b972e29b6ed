"""The reads on which decisions and answers depend."""

import copy
import logging
from typing import Self

from snapshot_mcp.cloud.api import ApiClient
from snapshot_mcp.cloud.client import CloudReader, Page
from snapshot_mcp.cloud.parsing import build_field_parser, parse_entry
from snapshot_mcp.core.clock import Clock
from snapshot_mcp.core.errors import LedgerError, error_kind
from snapshot_mcp.models.cloud import Snapshot
from snapshot_mcp.operations.own_writes import OwnWrites

_DELETING = "DELETING"
_parse_created_at = build_field_parser("created_at")

logger = logging.getLogger(__name__)


class ConsistentReader(CloudReader):
    """A reader that shows every snapshot that this server deleted as DELETING.

    The cloud may show it as before for some time, in lists and in single reads. If a single read
    still shows it when its deletion should be over, the status is the cloud's again, and
    `Snapshot.deletion_sent_at` is set. Lists never show it as ready again, so it does not count as
    a copy.

    Looking for the effect of a write needs the plain `CloudReader`.

    Args:
        api: the client of the cloud's API.
        own_writes: the writes of this server.
        clock: the current time.
        decides: whether decisions about writes depend on it. Otherwise what the cloud shows is
            returned even if the ledger cannot be read.
    """

    def __init__(
        self, api: ApiClient, own_writes: OwnWrites, clock: Clock, *, decides: bool
    ) -> None:
        super().__init__(api)
        self.own_writes = own_writes
        self._clock = clock
        self._decides = decides

    def ignoring(self, attempt_id: str) -> Self:
        """Return the same reader without one attempt, which is about to be sent (again)."""
        other = copy.copy(self)
        other.own_writes = self.own_writes.ignoring(attempt_id)
        return other

    async def get_snapshots_page(
        self,
        page: int,
        page_size: int,
        search: str,
        fields: tuple[str, ...] | None = None,
        *,
        retry: bool = True,
    ) -> Page:
        """Return one page of snapshots, as `CloudReader.get_snapshots_page`.

        Raises:
            LedgerError: decisions depend on it, and the ledger cannot be read.
        """
        result = await super().get_snapshots_page(page, page_size, search, fields, retry=retry)
        # The later pages of a list come within moments of its first one.
        return await self.correct_page(result, only_first=page > 1)

    async def correct_page(self, page: Page, *, only_first: bool = False) -> Page:
        """Return a page of snapshots that was read earlier, with the deletions since then.

        Raises:
            LedgerError: decisions depend on it, and the ledger cannot be read.
        """
        await self._refresh(only_first=only_first)
        return page._replace(entries=[self._corrected(entry) for entry in page.entries])

    async def get_snapshot(self, snapshot_id: int) -> Snapshot:
        """Return one snapshot, with all its fields.

        Raises:
            LedgerError: decisions depend on it, and the ledger cannot be read.
        """
        snapshot = await super().get_snapshot(snapshot_id)
        await self._refresh()
        deletion = self.own_writes.find_deletion(snapshot_id, snapshot.created_at)
        if deletion is None:
            return snapshot
        facts: dict[str, object] = {"deletion_sent_at": deletion.sent_at}
        if deletion.is_under_way(self._clock.now()):
            facts["status"] = _DELETING
        return snapshot.model_copy(update=facts)

    async def _refresh(self, *, only_first: bool = False) -> None:
        try:
            await self.own_writes.refresh_deletions(only_first=only_first)
        except LedgerError as error:
            if self._decides:
                raise
            kind = error_kind(error)
            logger.warning("deletions by this server are not known: %s", kind)

    def _corrected(self, raw: object) -> object:
        entry = parse_entry(raw)
        if entry is None or self.own_writes.find_deletion(entry.id) is None:
            return raw
        if self.own_writes.find_deletion(entry.id, _parse_created_at(entry)) is None:
            return raw
        return {**entry.raw, "status": _DELETING}
