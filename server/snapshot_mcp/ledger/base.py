"""The ledger: append-only, each attempt is sent once, and the rows form one hash chain.

The rules are here; `sqlite` and `postgres.store` only store rows.
"""

from collections.abc import Callable
from datetime import datetime, timedelta

import anyio

from snapshot_mcp.core.errors import LedgerError
from snapshot_mcp.core.request_context import LOCAL_PRINCIPAL
from snapshot_mcp.ledger.chain import (
    ORIGIN_ARGUMENT,
    Attempt,
    BatchCounts,
    Event,
    RateLimit,
    Row,
    SentAttempt,
    attempt_from_row,
    count_outcomes,
    format_timestamp,
    link_row,
    make_row,
    with_result,
)
from snapshot_mcp.ledger.errors import (
    ForeignKeyError,
    already_used_error,
    rate_limit_error,
)
from snapshot_mcp.ledger.head_check import LastAppend, check_recorded, find_loss
from snapshot_mcp.ledger.macs import LedgerMacs
from snapshot_mcp.ledger.mark import Mark
from snapshot_mcp.ledger.store import LedgerStore, LedgerTransaction, RowFilter
from snapshot_mcp.ledger.verification import LedgerReport, verify_snapshot
from snapshot_mcp.settings.signing_key import SigningKey

_OUTCOMES: tuple[Event, ...] = ("done", "failed", "unknown")
_BATCH = "apply_retention"
_LOSS = Attempt("", "ledger", 0, {}, LOCAL_PRINCIPAL, "")


class Ledger:
    """A ledger. Every method raises `LedgerError` if the rows cannot be read or written.

    Args:
        store: where the rows are kept.
        now: returns the current time, for the rows.
        key: the signing key, which is read at the first use.

    Attributes:
        has_unknown: whether an "unknown" outcome was recorded since this was last set to False.
    """

    def __init__(self, store: LedgerStore, now: Callable[[], datetime], key: SigningKey) -> None:
        self._store = store
        self._now = now
        self._key = key
        self._macs: LedgerMacs | None = None
        self._last_append: LastAppend | None = None
        self.has_unknown = False

    def close(self) -> None:
        """Declare to other processes that this one sends nothing more."""
        self._store.close()

    async def was_sent(self, attempt_id: str) -> bool:
        """Return whether an attempt with this id was ever sent."""

        def query() -> bool:
            with self._store.read() as transaction:
                return transaction.has_event(attempt_id, "sent")

        return await self._store.run(query)

    async def check_plan(self, plan_id: str) -> None:
        """Check that the ledger records this plan, and that it was not used.

        Raises:
            RefusedError: it was used, or there is no record of it.
        """

        def query() -> None:
            macs = self._load_macs()
            with self._store.read() as transaction:
                if transaction.has_event(plan_id, "sent"):
                    raise already_used_error()
                check_recorded(transaction, macs, plan_id, "planned")
                if loss := find_loss(transaction, macs, self._last_append):
                    raise loss

        await self._store.run(query)

    async def sent_within(self, tool: str, seconds: float) -> int:
        """Return the number of attempts of `tool` that were sent in the last `seconds`."""

        def query() -> int:
            with self._store.read() as transaction:
                return _count_sent(transaction, tool, seconds, self._now())

        return await self._store.run(query)

    async def record(
        self,
        event: Event,
        attempt: Attempt,
        reason: str = "",
        *,
        rate_limit: RateLimit | None = None,
    ) -> None:
        """Append one row, durably.

        Args:
            event: what happened to the attempt, or is about to happen.
            attempt: the attempt.
            reason: the reason for the event.
            rate_limit: maximum number of sent attempts of this tool; applies only to "sent".

        Raises:
            RefusedError: the event is "sent", and the attempt was already sent, its plan is not
                recorded, or the rate limit is reached.
        """
        inserted: list[Row] = []

        def append() -> None:
            macs = self._load_macs()
            with self._store.write(macs, sends=event == "sent") as transaction:
                # If the connection was lost during the commit, the row may have been stored.
                if inserted and _is_stored(transaction, inserted):
                    return
                # Read the clock inside the transaction, so that times follow the row order.
                now = self._now()
                if event == "sent":
                    _check_can_be_sent(transaction, macs, attempt, rate_limit, now)
                loss = find_loss(transaction, macs, self._last_append)
                if loss and (
                    event == "planned"
                    or (event == "sent" and attempt.plan)
                    or (isinstance(loss, ForeignKeyError) and event not in _OUTCOMES)
                ):
                    raise loss
                noted = _note_origin(attempt, transaction) if event == "planned" else attempt
                # Other processes see the row after the commit, so the owner must be alive before.
                row = make_row(event, noted, reason, now, transaction.owner_id())
                inserted.append(_append(transaction, row, macs, move_mark=not loss))
            if not loss:
                self._note_append(inserted[-1])
            self.has_unknown = self.has_unknown or event == "unknown"

        await self._store.run(append)

    async def acknowledge_loss(self, reason: str) -> None:
        """Accept that rows were lost, or that the signing key was replaced.

        New plans can be made then. Earlier plans stay invalid.

        Args:
            reason: the observed problem.
        """

        def append() -> None:
            macs = self._load_macs()
            with self._store.write(macs, sends=False) as transaction:
                row = make_row("lost", _LOSS, reason, self._now(), transaction.owner_id())
                linked = _append(transaction, row, macs, move_mark=True)
            self._note_append(linked)

        await self._store.run(append)

    async def rows(
        self,
        *,
        tool: str = "",
        event: str = "",
        attempt: str = "",
        since: datetime | None = None,
        limit: int = 0,
    ) -> list[Row]:
        """Return the rows that match every given condition, oldest first.

        Args:
            tool: name of the tool.
            event: the event.
            attempt: id of the attempt.
            since: earliest time.
            limit: return only this many of the newest rows; 0 for all.
        """
        earliest = format_timestamp(since) if since else ""
        row_filter = RowFilter(tool, event, attempt, earliest, limit or None)

        def query() -> list[Row]:
            with self._store.read() as transaction:
                return transaction.select(row_filter)

        return await self._store.run(query)

    async def sent_attempts(
        self, tool: str, *, since: datetime | None = None, after: int = 0
    ) -> tuple[list[SentAttempt], int]:
        """Return the attempts of `tool` that were sent, as `LedgerTransaction.select_sent` does.

        Args:
            tool: name of the tool.
            since: the earliest time at which they were sent.
            after: the number that an earlier call returned, for what was added since then.

        Returns:
            The attempts, and the id of the last row that was considered.
        """
        earliest = format_timestamp(since) if since else ""

        def query() -> tuple[list[SentAttempt], int]:
            with self._store.read() as transaction:
                # Rows that are appended in between are returned again by the next call.
                last_id = transaction.last_link().row
                return transaction.select_sent(tool, earliest, after), last_id

        return await self._store.run(query)

    async def unsettled(self) -> list[Row]:
        """Return the "sent" rows of processes that died before they recorded the outcome."""
        rows = await self._store.run(self._unsettled)
        if rows and self._store.reconnect_grace_seconds:
            dead = {row.owner for row in rows}
            await anyio.sleep(self._store.reconnect_grace_seconds)
            rows = [row for row in await self._store.run(self._unsettled) if row.owner in dead]
        return rows

    async def open_attempts(self, since: datetime) -> list[Row]:
        """Return the last row of each attempt whose outcome is open, oldest first.

        It is the "sent" row if the process died before it recorded the outcome, or the "unknown"
        row if that is the outcome.

        Args:
            since: earliest time of an "unknown" row.
        """

        def query() -> list[Row]:
            with self._store.read() as transaction:
                return transaction.select_unknown(format_timestamp(since))

        unknown = [row for row in await self._store.run(query) if row.tool != _BATCH]
        return sorted([*await self.unsettled(), *unknown], key=lambda row: row.id)

    async def count_batch(self, batch_id: str) -> BatchCounts:
        """Return the number of deletions of a batch, by their latest outcome."""

        def query() -> BatchCounts:
            with self._store.read() as transaction:
                planned = transaction.select(RowFilter(attempt=batch_id, event="planned"))
                return count_outcomes(planned, transaction.select_batch(batch_id))

        return await self._store.run(query)

    async def settle(
        self, sent: Row, event: Event, reason: str, *, result_id: int | None = None
    ) -> None:
        """Append the outcome of an open attempt, unless it has a later one already.

        If several processes settle the same attempt, one row is appended. Nothing is appended
        while the process that sent it may still record the outcome, or with another signing key
        than that of the ledger.

        Args:
            sent: the row, as returned by `open_attempts`.
            event: the outcome.
            reason: the observation that shows the outcome.
            result_id: id of what the attempt created; None if it created nothing.
        """

        def append() -> None:
            macs = self._load_macs()
            with self._store.write(macs, sends=False) as transaction:
                if transaction.has_ended(sent):
                    return
                # The process that recorded "unknown" does not look for the outcome any more.
                if sent.event == "sent" and transaction.is_alive(sent.owner):
                    return
                loss = find_loss(transaction, macs, self._last_append)
                if isinstance(loss, ForeignKeyError):
                    return
                attempt = with_result(attempt_from_row(sent), result_id)
                row = make_row(event, attempt, reason, self._now(), transaction.owner_id())
                _append(transaction, row, macs, move_mark=not loss)

        await self._store.run(append)

    async def verify(self) -> list[str]:
        """Return one sentence for each sign that the ledger was altered; write nothing.

        Anyone who has the signing key can also write a complete new ledger.
        """
        return (await self.inspect()).problems

    async def inspect(self) -> LedgerReport:
        """Verify the ledger; without a signing key, only its chain."""

        def query() -> LedgerReport:
            key, key_problems = self._find_key()
            with self._store.snapshot() as snapshot:
                report = verify_snapshot(snapshot, None if key is None else LedgerMacs(key))
            return report._replace(problems=key_problems + report.problems)

        return await self._store.run(query)

    def _find_key(self) -> tuple[bytes | None, list[str]]:
        try:
            return self._key.find(), []
        except LedgerError as error:
            return None, [str(error)]

    def _load_macs(self) -> LedgerMacs:
        # Keep them: the outcome of a sent request must be recorded even if the key is gone then.
        if self._macs is None:
            self._macs = LedgerMacs(self._key.load())
        return self._macs

    def _note_append(self, row: Row) -> None:
        self._last_append = LastAppend(Mark(row.id, row.hash), row.at)

    def _unsettled(self) -> list[Row]:
        with self._store.read() as transaction:
            owners = {row.owner for row in transaction.select_unended()}
            dead = {owner for owner in owners if not transaction.is_alive(owner)}
            # Read again: a process that is dead now may have written its last row in between.
            unended = transaction.select_unended()
            transaction.remove_stale_owners({row.owner for row in unended})
            return [row for row in unended if row.owner in dead]


def _check_can_be_sent(
    transaction: LedgerTransaction,
    macs: LedgerMacs,
    attempt: Attempt,
    limit: RateLimit | None,
    now: datetime,
) -> None:
    if transaction.has_event(attempt.id, "sent"):
        raise already_used_error()
    if attempt.plan:
        # A write of a batch has an id of its own, and its plan was sent as the batch.
        event: Event = "planned" if attempt.plan == attempt.id else "sent"
        check_recorded(transaction, macs, attempt.plan, event)
    if limit and _count_sent(transaction, attempt.tool, limit.seconds, now) >= limit.events:
        raise rate_limit_error(limit)


def _count_sent(transaction: LedgerTransaction, tool: str, seconds: float, now: datetime) -> int:
    return transaction.count_sent(tool, format_timestamp(now - timedelta(seconds=seconds)))


def _is_stored(transaction: LedgerTransaction, inserted: list[Row]) -> bool:
    stored = transaction.select(RowFilter(attempt=inserted[0].attempt))
    return any(row in stored for row in inserted)


def _note_origin(attempt: Attempt, transaction: LedgerTransaction) -> Attempt:
    origin = transaction.origin()
    noted = {**attempt.arguments, ORIGIN_ARGUMENT: origin}
    return attempt._replace(arguments=noted) if origin else attempt


def _append(transaction: LedgerTransaction, row: Row, macs: LedgerMacs, *, move_mark: bool) -> Row:
    last = transaction.last_link()
    # The id of a removed last row is not reused, so the gap stays visible.
    linked = link_row(row, max(last.row, transaction.counter()) + 1, last.hash)
    signed = macs.sign_row(linked)
    mark = macs.sign_mark(Mark(signed.id, signed.hash)) if move_mark else None
    transaction.insert(signed, mark)
    return signed
