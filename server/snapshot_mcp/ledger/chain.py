"""The rows of the ledger, and what makes them a chain: each carries the hash of the one before.

Pure: attempts and rows in, rows and sentences out. A change to any row, or its removal, breaks a
link that can be named.
"""

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Literal, NamedTuple, cast

Event = Literal["planned", "refused", "asked", "sent", "done", "failed", "unknown"]
Argument = str | int | bool | list[str]

MAX_ARGUMENTS_LENGTH = 12_000
MAX_REASON_LENGTH = 500
MAX_CLIENT_LENGTH = 100

_MAX_TRUNCATED_LENGTH = 1_900  # each character becomes two at most when it is put into JSON again

FIRST_PREVIOUS = "0" * 64
"""What the first row names as the hash of the row before it."""


class Attempt(NamedTuple):
    """One attempt to change something.

    Attributes:
        id: the plan's id, or an id of its own where no plan is needed.
        tool: name of the tool.
        target: id of the snapshot or VM.
        arguments: what was asked for; never a secret.
        principal: who asked.
        evidence: what shows that it was agreed to.
        client: name of the program that asked, as it calls itself.
    """

    id: str
    tool: str
    target: int
    arguments: Mapping[str, Argument]
    principal: str
    evidence: str
    client: str = ""


class RateLimit(NamedTuple):
    """At most so many events in so many seconds."""

    events: int
    seconds: float


class Row(NamedTuple):
    """One row of the ledger, as it is stored.

    Attributes:
        id: counts from 1, without a gap.
        at: when it was written, in UTC.
        event: what happened.
        attempt: the attempt that it happened to.
        tool: name of the tool.
        target: id of the snapshot or VM.
        arguments: what was asked for, as JSON.
        principal: who asked.
        client: name of the program that asked.
        evidence: what shows that it was agreed to.
        reason: why it ended as it did.
        owner: id of the server process that wrote the row.
        previous: hash of the row before.
        hash: SHA-256 of all the other fields.
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


def new_row(event: str, attempt: Attempt, reason: str, now: datetime, owner: str) -> Row:
    """A row that has no place in the chain yet."""
    return Row(
        id=0,
        at=stamp(now),
        event=event,
        attempt=attempt.id,
        tool=attempt.tool,
        target=attempt.target,
        arguments=_capped_json(attempt.arguments),
        principal=attempt.principal,
        client=_capped(attempt.client, MAX_CLIENT_LENGTH),
        evidence=attempt.evidence,
        reason=_capped(reason, MAX_REASON_LENGTH),
        owner=owner,
        previous="",
        hash="",
    )


def attempt_of(row: Row) -> Attempt:
    """The attempt that a row tells of."""
    return Attempt(
        id=row.attempt,
        tool=row.tool,
        target=row.target,
        arguments=cast("dict[str, Argument]", json.loads(row.arguments)),
        principal=row.principal,
        evidence=row.evidence,
        client=row.client,
    )


def stamp(moment: datetime) -> str:
    """A moment as the rows hold it; later moments sort after earlier ones."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds")


def sealed(row: Row) -> Row:
    """The row with its hash."""
    return row._replace(hash=hash_of(row))


def hash_of(row: Row) -> str:
    """SHA-256 of a canonical JSON of every field but the hash."""
    fields: dict[str, object] = row._asdict()
    del fields["hash"]
    canonical = json.dumps(fields, sort_keys=True, separators=(",", ":"), default=_not_text)
    return hashlib.sha256(canonical.encode()).hexdigest()


def find_problems(rows: Iterable[Row], counter: int) -> Iterator[str]:
    """A sentence for everything that shows that rows were altered, removed or reordered.

    Args:
        rows: all rows, by id.
        counter: the largest id that the database ever gave.
    """
    last_id, last_hash = 0, FIRST_PREVIOUS
    for row in rows:
        yield from _problems_of(row, last_id, last_hash)
        last_id, last_hash = row.id, row.hash
    if counter != last_id:
        if counter > last_id:
            yield f"Row {counter}: it was the last row, and it is gone; the last is now {last_id}."
        else:
            yield f"Row {last_id}: it is the last row, but the database's own count was altered."


def _problems_of(row: Row, last_id: int, last_hash: str) -> Iterator[str]:
    if row.id != last_id + 1:
        yield f"Row {row.id}: row {last_id + 1} should stand here; rows were removed or renumbered."
    if row.previous != last_hash:
        yield f"Row {row.id}: it does not fit the row before it, {last_id or 'the beginning'}."
    if row.hash != hash_of(row):
        yield f"Row {row.id}: it was altered; its fields do not fit its hash."


def _not_text(value: bytes) -> dict[str, str]:
    # The ledger writes no bytes: whoever did must not pass for the text of the same letters.
    return {"bytes": value.hex()}


def _capped(text: str, cap: int) -> str:
    whole = text.encode(errors="replace").decode()
    return whole if len(whole) <= cap else whole[: cap - 1] + "…"


def _capped_json(arguments: Mapping[str, Argument]) -> str:
    text = json.dumps(arguments, sort_keys=True)
    if len(text) <= MAX_ARGUMENTS_LENGTH:
        return text
    cut = {"cut": text[:_MAX_TRUNCATED_LENGTH], "sha256": hashlib.sha256(text.encode()).hexdigest()}
    return json.dumps(cut)
