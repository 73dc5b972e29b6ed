"""The writes of this server that an eventually consistent cloud may not show yet.

They are taken from the ledger, so they include those of every process and replica that shares it,
now and earlier. A write counts if it was sent and is not known to have failed.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import NamedTuple, Self, cast

from snapshot_mcp.ledger.base import Ledger
from snapshot_mcp.ledger.chain import CLOUD, CREATED_AT, RESULT_ID, Row, SentAttempt

DELETION_TIMEOUT = timedelta(days=1)
"""A snapshot that the cloud still shows after this time was not deleted, and can be again."""

UNCONFIRMED_TIMEOUT = timedelta(minutes=10)
"""The same, if the cloud did not confirm that it accepted the deletion."""

_SAME_TIME = timedelta(minutes=1)
"""Lists and single reads may return times of different precision."""

NAME_TIMEOUT = timedelta(minutes=10)
"""The time for which the cloud may not show yet that a name is taken."""

_DELETION = "delete_snapshot"


class Deletion(NamedTuple):
    """A deletion that this server sent.

    Attributes:
        sent_at: when it was sent.
        confirmed: whether the cloud accepted it, as far as is known.
        cloud: the cloud; empty in rows of earlier versions.
        created_at: when the snapshot was taken; None if it is not known.
    """

    sent_at: datetime
    confirmed: bool
    cloud: str
    created_at: datetime | None

    def concerns(self, created_at: datetime | None) -> bool:
        """Return whether the snapshot with its id that was taken at this time is the same one."""
        if self.created_at is None or created_at is None:
            return True
        return abs(self.created_at - created_at) < _SAME_TIME

    def is_under_way(self, now: datetime) -> bool:
        """Return whether a cloud that still shows the snapshot may just not have deleted it yet."""
        timeout = DELETION_TIMEOUT if self.confirmed else UNCONFIRMED_TIMEOUT
        return now - self.sent_at < timeout


class RecentWrite(NamedTuple):
    """A write of the last minutes.

    Attributes:
        sent_at: when it was sent.
        row: its latest row.
        result_id: id of what it created; None while it is not known.
    """

    sent_at: datetime
    row: Row
    result_id: int | None


class _DeletionLog:
    """The deletions by snapshot and attempt, up to a row of the ledger."""

    def __init__(self) -> None:
        self.by_snapshot: dict[int, dict[str, Deletion]] = {}
        self.last_id = 0

    def add(self, attempts: list[SentAttempt], last_id: int) -> None:
        """Add attempts in the order of their rows."""
        for sent_at, row in attempts:
            of_snapshot = self.by_snapshot.setdefault(row.target, {})
            if row.event == "failed":
                of_snapshot.pop(row.attempt, None)
            else:
                arguments = _arguments(row)
                created_at = arguments.get(CREATED_AT)
                of_snapshot[row.attempt] = Deletion(
                    _moment(sent_at),
                    row.event == "done",
                    str(arguments.get(CLOUD, "")),
                    _moment(created_at) if isinstance(created_at, str) else None,
                )
        self.last_id = max(self.last_id, last_id)


@dataclass(frozen=True)
class OwnWrites:
    """The recent writes and all deletions of snapshots, on one cloud.

    Attributes:
        ledger: the ledger.
        cloud: the cloud, as the ledger names it.
        now: returns the current time.
        ignored: id of the attempt that does not count.
    """

    ledger: Ledger
    cloud: str
    now: Callable[[], datetime]
    ignored: str = ""
    _log: _DeletionLog = field(default_factory=_DeletionLog)

    def ignoring(self, attempt_id: str) -> Self:
        """Return the same writes without one attempt, which is about to be sent (again)."""
        return replace(self, ignored=attempt_id)

    async def refresh_deletions(self, *, only_first: bool = False) -> None:
        """Read the deletions that were recorded since the last call.

        Args:
            only_first: do nothing if they were read before.

        Raises:
            LedgerError: the ledger cannot be read.
        """
        if only_first and self._log.last_id:
            return
        attempts, last_id = await self.ledger.sent_attempts(_DELETION, after=self._log.last_id)
        self._log.add(attempts, last_id)

    def find_deletion(
        self, snapshot_id: int, created_at: datetime | None = None
    ) -> Deletion | None:
        """Return the latest deletion of this snapshot, as of the last refresh.

        Rows of earlier versions do not name their cloud. They count for every cloud, but only for
        a day, because ids of different clouds may be equal.

        Args:
            snapshot_id: id of the snapshot.
            created_at: when it was taken; None if it is not known. The ids of an embedded cloud
                that was reset begin again, with other times.
        """
        found: Deletion | None = None
        for attempt_id, deletion in self._log.by_snapshot.get(snapshot_id, {}).items():
            if attempt_id == self.ignored or not deletion.concerns(created_at):
                continue
            if self._is_of_this_cloud(deletion):
                found = deletion if found is None or found.sent_at < deletion.sent_at else found
        return found

    async def find_recent(self, tool: str, argument: str, name: str) -> list[RecentWrite]:
        """Return the writes of the last minutes that used a name, newest first.

        Args:
            tool: name of the tool.
            argument: the argument that holds the name.
            name: the name.

        Raises:
            LedgerError: the ledger cannot be read.
        """
        since = self.now() - NAME_TIMEOUT
        attempts, _ = await self.ledger.sent_attempts(tool, since=since)
        found: list[RecentWrite] = []
        for attempt in reversed(attempts):
            row, arguments = attempt.last, _arguments(attempt.last)
            if row.event == "failed" or row.attempt == self.ignored:
                continue
            if arguments.get(CLOUD, self.cloud) == self.cloud and arguments.get(argument) == name:
                number = arguments.get(RESULT_ID)
                result_id = number if isinstance(number, int) else None
                found.append(RecentWrite(_moment(attempt.sent_at), row, result_id))
        return found

    def _is_of_this_cloud(self, deletion: Deletion) -> bool:
        if deletion.cloud:
            return deletion.cloud == self.cloud
        return self.now() - deletion.sent_at < DELETION_TIMEOUT


def _arguments(row: Row) -> dict[str, object]:
    return cast("dict[str, object]", json.loads(row.arguments))


def _moment(timestamp: str) -> datetime:
    return datetime.fromisoformat(timestamp)
