"""The storage interface of the ledger, implemented for SQLite and for PostgreSQL."""

from collections.abc import Awaitable, Callable, Iterable
from contextlib import AbstractContextManager
from typing import NamedTuple, Protocol, TypeVar

from snapshot_mcp.ledger.chain import Event, Row, SentAttempt
from snapshot_mcp.ledger.macs import LedgerMacs
from snapshot_mcp.ledger.mark import Mark

T = TypeVar("T")


class RowFilter(NamedTuple):
    """Conditions on rows; an empty one matches every row.

    Attributes:
        tool: name of the tool.
        event: the event.
        attempt: id of the attempt.
        since: earliest time, formatted as in `Row.at`.
        limit: maximum number of rows; None for all.
    """

    tool: str = ""
    event: str = ""
    attempt: str = ""
    since: str = ""
    limit: int | None = None


class ChainSnapshot(NamedTuple):
    """The stored chain at one moment, for verification.

    Attributes:
        problems: one sentence for each altered or missing table, index or trigger.
        rows: all rows by id; empty if the table itself was altered.
        counter: the largest id that the database ever assigned.
        mark: the mark that is kept outside the rows; None if there is none.
    """

    problems: list[str]
    rows: Iterable[Row] = ()
    counter: int = 0
    mark: Mark | None = None


class LedgerTransaction(Protocol):
    """Queries on the rows within one transaction."""

    def has_event(self, attempt_id: str, event: Event) -> bool:
        """Return whether the ledger holds such a row of this attempt."""
        ...

    def count_sent(self, tool: str, after: str) -> int:
        """Return the number of attempts of `tool` that were sent after a timestamp."""
        ...

    def select(self, row_filter: RowFilter) -> list[Row]:
        """Return the newest rows that match, oldest first."""
        ...

    def select_sent(self, tool: str, since: str, after: int) -> list[SentAttempt]:
        """Return attempts of `tool`, oldest first, each with its latest row.

        Args:
            tool: name of the tool.
            since: the earliest timestamp at which they were sent.
            after: if not 0, only rows with a larger id; an attempt may then occur several times,
                and its last occurrence has the latest row.
        """
        ...

    def select_unended(self) -> list[Row]:
        """Return the "sent" rows that no later row of the same attempt ends, oldest first."""
        ...

    def select_unknown(self, since: str) -> list[Row]:
        """Return the "unknown" rows since a time that no later row ends, oldest first."""
        ...

    def select_batch(self, batch_id: str) -> list[Row]:
        """Return the rows of the writes of a batch, oldest first."""
        ...

    def has_ended(self, sent: Row) -> bool:
        """Return whether a later row ends the attempt of this row."""
        ...

    def is_alive(self, owner: str) -> bool:
        """Return whether the process with this owner id is alive."""
        ...

    def remove_stale_owners(self, open_owners: set[str]) -> None:
        """Remove what dead processes left behind, except those in `open_owners`."""
        ...

    def owner_id(self) -> str:
        """Return the owner id of this process.

        In a transaction that sends, other processes see this owner as alive from now on.
        """
        ...

    def find_valid_event(self, attempt_id: str, event: Event) -> Row | None:
        """Return such a row of this attempt; None for a row after which rows were lost."""
        ...

    def origin(self) -> str:
        """Return the identity of the running database; empty if rows are kept in a file.

        It changes when the database is restarted or restored from a backup.
        """
        ...

    def mark(self) -> Mark | None:
        """Return the high-water mark that is kept outside the rows; None if there is none."""
        ...

    def hash_of(self, row_id: int) -> str:
        """Return the hash of a row; empty if there is no such row."""
        ...

    def last_link(self) -> Mark:
        """Return id, hash and MAC of the last row, or those of the start of the chain."""
        ...

    def counter(self) -> int:
        """Return the largest id that the database ever assigned."""
        ...

    def insert(self, row: Row, mark: Mark | None) -> None:
        """Insert one row, and move the mark to it once it is committed.

        Args:
            row: the row.
            mark: the mark of this row; None to leave the mark where it is.
        """
        ...


class LedgerStore(Protocol):
    """The rows of one ledger, and the processes that write them.

    Attributes:
        reconnect_grace_seconds: how long a live process may appear dead.
    """

    reconnect_grace_seconds: float

    def run(self, work: Callable[[], T]) -> Awaitable[T]:
        """Run `work` in a thread; a store may repeat it after it lost its connection.

        Raises:
            LedgerError: the rows cannot be read or written.
        """
        ...

    def read(self) -> AbstractContextManager[LedgerTransaction]:
        """Open a transaction that only reads."""
        ...

    def write(self, macs: LedgerMacs, *, sends: bool) -> AbstractContextManager[LedgerTransaction]:
        """Open a transaction that appends; only one is open at a time, across all processes.

        Args:
            macs: makes the MAC of the mark.
            sends: whether it appends a "sent" row.
        """
        ...

    def snapshot(self) -> AbstractContextManager[ChainSnapshot]:
        """Open the chain for verification; nothing is written."""
        ...

    def close(self) -> None:
        """Declare that this process sends nothing more."""
        ...
