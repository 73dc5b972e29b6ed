"""The rows of the ledger and their hash chain: each row contains the hash of the row before it.

This module does no I/O. A change to any row, or its removal, breaks a link that `find_problems`
names.
"""

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Literal, NamedTuple, cast

Event = Literal["planned", "refused", "asked", "sent", "done", "failed", "unknown", "lost"]
Argument = str | int | bool | list[str]

CLOUD = "cloud"
"""The argument that names the cloud of an attempt: "embedded", or the address of its API.

Rows of earlier versions do not have it.
"""
RESULT_CREATED_AT = "result_created_at"
"""Argument of a done row of a restore: when the cloud created the VM."""

RESULT_ID = "result_id"
"""The argument of a "done" row with the id of the snapshot, VM or image that was created."""

CREATED_AT = "snapshot_created_at"
"""The argument of a deletion that says when its snapshot was taken.

The ids of an embedded cloud that was reset begin again, but with other times.
"""

MAX_ARGUMENTS_LENGTH = 12_000
MAX_REASON_LENGTH = 500
MAX_CLIENT_LENGTH = 100

_MAX_TRUNCATED_LENGTH = 1_900  # escaping at most doubles the length when it becomes JSON again

ORIGIN_ARGUMENT = "database"
"""The argument of a "planned" row that identifies the running database it was written to."""

FIRST_PREVIOUS_HASH = "0" * 64
"""The `previous` hash of the first row."""

MISSING_MARK_PROBLEM = "The mark of the ledger is missing, so rows may have been lost."


class Attempt(NamedTuple):
    """One attempt to change something.

    Attributes:
        id: the plan's id, or a new id if no plan is needed.
        tool: name of the tool.
        target: id of the snapshot or VM.
        arguments: the call's arguments; never a secret.
        principal: the caller.
        evidence: the evidence of consent.
        client: name of the client program, as it states it.
        plan: id of the plan that permits it; empty if it needs no plan. It is not stored.
    """

    id: str
    tool: str
    target: int
    arguments: Mapping[str, Argument]
    principal: str
    evidence: str
    client: str = ""
    plan: str = ""


class RateLimit(NamedTuple):
    """A maximum number of events within a number of seconds."""

    events: int
    seconds: float


class Row(NamedTuple):
    """One row of the ledger, as it is stored.

    Attributes:
        id: counts from 1, without gaps.
        at: when it was written, in UTC.
        event: what happened to the attempt.
        attempt: id of the attempt.
        tool: name of the tool.
        target: id of the snapshot or VM.
        arguments: the call's arguments, as JSON.
        principal: the caller.
        client: name of the client program.
        evidence: the evidence of consent.
        reason: the reason for the event; may be empty.
        owner: id of the server process that wrote the row.
        previous: hash of the row before.
        hash: SHA-256 of the fields before.
        mac: MAC of the hash with a key derived from the signing key; empty in rows of earlier
            versions.
    """

    id: int
    at: str
    event: str
    attempt: str
    tool: str
    target: int
    arguments: str
    principal: str
    client: str
    evidence: str
    reason: str
    owner: str
    previous: str
    hash: str
    mac: str = ""


class SentAttempt(NamedTuple):
    """An attempt that was sent.

    Attributes:
        sent_at: when, as in `Row.at`.
        last: its latest row; the event is "sent" as long as the outcome is not recorded.
    """

    sent_at: str
    last: Row


class BatchCounts(NamedTuple):
    """The deletions of a batch, by their latest outcome.

    Attributes:
        done: the deletions that took effect.
        failed: those that did not.
        unknown: those of which this is not known.
        open: those that were sent and have no outcome yet.
        not_sent: those that were planned and not sent.
    """

    done: int = 0
    failed: int = 0
    unknown: int = 0
    open: int = 0
    not_sent: int = 0

    def __str__(self) -> str:
        return (
            f"{self.done} deleted, {self.failed} failed, {self.unknown} unknown, {self.not_sent}"
            " not attempted"
        )


def count_outcomes(planned: Sequence[Row], rows: Iterable[Row]) -> BatchCounts:
    """Return how many deletions of a batch have which outcome.

    Args:
        planned: the "planned" row of the batch, if there is one.
        rows: the rows of its deletions, in the order of their ids.
    """
    last = {row.attempt: row.event for row in rows}
    found = {event: list(last.values()).count(event) for event in set(last.values())}
    targets = attempt_from_row(planned[0]).arguments.get("targets") if planned else None
    total = len(targets) if isinstance(targets, list) else len(last)
    return BatchCounts(
        found.get("done", 0),
        found.get("failed", 0),
        found.get("unknown", 0),
        found.get("sent", 0),
        max(total - len(last), 0),
    )


def make_row(event: str, attempt: Attempt, reason: str, now: datetime, owner: str) -> Row:
    """Return a row that is not yet linked into the chain."""
    return Row(
        id=0,
        at=format_timestamp(now),
        event=event,
        attempt=_storable(attempt.id),
        tool=_storable(attempt.tool),
        target=attempt.target,
        arguments=_capped_json(attempt.arguments),
        principal=_storable(attempt.principal),
        client=_capped(attempt.client, MAX_CLIENT_LENGTH),
        evidence=_storable(attempt.evidence),
        reason=_capped(reason, MAX_REASON_LENGTH),
        owner=owner,
        previous="",
        hash="",
    )


def link_row(row: Row, row_id: int, previous: str) -> Row:
    """Return the row with its id, the hash of the row before it, and its own hash."""
    linked = row._replace(id=row_id, previous=previous)
    return linked._replace(hash=compute_hash(linked))


def with_creation_time(attempt: Attempt, created_at: datetime | None) -> Attempt:
    """Return the attempt with the time at which its snapshot was taken, if that is known."""
    if created_at is None:
        return attempt
    return attempt._replace(arguments={**attempt.arguments, CREATED_AT: created_at.isoformat()})


def with_result(
    attempt: Attempt, result_id: int | None, created_at: datetime | None = None
) -> Attempt:
    """Return the attempt with the id of what it created, and the time, if they are known."""
    if result_id is None:
        return attempt
    arguments = {**attempt.arguments, RESULT_ID: result_id}
    if created_at is not None:
        arguments[RESULT_CREATED_AT] = created_at.isoformat()
    return attempt._replace(arguments=arguments)


def is_same_call(row: Row, call: Attempt) -> bool:
    """Return whether a row is about a call with the same arguments by the same principal."""
    result_id = cast("dict[str, int]", json.loads(row.arguments)).get(RESULT_ID)
    arguments = _capped_json(with_result(call, result_id).arguments)
    recorded = (row.tool, row.target, row.principal, row.arguments)
    return recorded == (call.tool, call.target, _storable(call.principal), arguments)


def attempt_from_row(row: Row) -> Attempt:
    """Return the attempt that a row is about."""
    return Attempt(
        id=row.attempt,
        tool=row.tool,
        target=row.target,
        arguments=cast("dict[str, Argument]", json.loads(row.arguments)),
        principal=row.principal,
        evidence=row.evidence,
        client=row.client,
    )


def format_timestamp(moment: datetime) -> str:
    """Return a moment as rows store it; later moments sort after earlier ones."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds")


def compute_hash(row: Row) -> str:
    """Return the SHA-256 of the canonical JSON of every field except the hash and the MAC."""
    fields: dict[str, object] = row._asdict()
    del fields["hash"], fields["mac"]
    canonical = json.dumps(fields, sort_keys=True, separators=(",", ":"), default=_encode_bytes)
    return hashlib.sha256(canonical.encode()).hexdigest()


def find_problems(
    rows: Iterable[Row], counter: int, mark: tuple[int, str] | None = None
) -> Iterator[str]:
    """Yield one sentence for each sign that rows were altered, removed or reordered.

    Args:
        rows: all rows by id.
        counter: the largest id that the database ever assigned.
        mark: id and hash of a row that was the last one once; None if none is known.
    """
    last_id, last_hash = 0, FIRST_PREVIOUS_HASH
    has_mark = mark in (None, (last_id, last_hash))
    for row in rows:
        yield from _find_row_problems(row, last_id, last_hash)
        last_id, last_hash = row.id, row.hash
        has_mark = has_mark or mark == (last_id, last_hash)
    if mark is not None and not has_mark:
        yield _describe_lost_mark(*mark)
    if counter > last_id:
        yield f"Row {counter}: the last row is missing; the last row is now {last_id}."
    elif counter < last_id:
        yield f"Row {last_id}: it is the last row, but the database's row counter was altered."


def _describe_lost_mark(row_id: int, row_hash: str) -> str:
    if not row_hash:
        return MISSING_MARK_PROBLEM
    return (
        f"Row {row_id}: the mark of the ledger shows that it was written, and the ledger does"
        " not have it. The ledger was emptied or replaced by an older copy."
    )


def _find_row_problems(row: Row, last_id: int, last_hash: str) -> Iterator[str]:
    if row.id != last_id + 1:
        yield f"Row {row.id}: row {last_id + 1} is expected here; rows were removed or renumbered."
    if row.previous != last_hash:
        before = f"row {last_id}" if last_id else "the start of the chain"
        yield f"Row {row.id}: it does not follow {before}; its link is broken."
    if row.hash != compute_hash(row):
        yield f"Row {row.id}: it was altered; its fields do not match its hash."


def _encode_bytes(value: bytes) -> dict[str, str]:
    # The ledger writes no bytes. If someone else did, they must not hash like the same text.
    return {"bytes": value.hex()}


def _storable(text: str) -> str:
    # Lone surrogates are not UTF-8, and PostgreSQL stores no NUL.
    return text.encode(errors="replace").decode().replace("\0", "\ufffd")


def _capped(text: str, cap: int) -> str:
    storable = _storable(text)
    return storable if len(storable) <= cap else storable[: cap - 1] + "…"


def _capped_json(arguments: Mapping[str, Argument]) -> str:
    text = json.dumps(arguments, sort_keys=True)
    if len(text) <= MAX_ARGUMENTS_LENGTH:
        return text
    cut = {"cut": text[:_MAX_TRUNCATED_LENGTH], "sha256": hashlib.sha256(text.encode()).hexdigest()}
    kept = {name: arguments[name] for name in (CLOUD, RESULT_ID) if name in arguments}
    return json.dumps(cut | kept)
