"""Three parties compared: what is in the cloud, what the ledger says, what was told to a client.

`disagreements` is empty when nothing was lost, nothing was done twice, and nothing was reported
that did not happen. A request that a proxy repeats by itself is judged like any other: the cloud's
own rule of unique names must let only one of the two take effect, and the refusal of the other must
not be told as a failure. Only that it is called unknown is always right then, although the effect
can be seen: it may as well be somebody else's.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from tests.faults.change_log import ENDS, Change, LedgerEntry, RequestedWrite, parse_write
from tests.faults.faults import SentTwice
from tests.faults.transport import Exchange

HAPPENED = ("created", "restored", "deleted", "pending")


@dataclass
class ToolCall:
    """One call of a tool, and what came back.

    Attributes:
        attempt: id of the attempt that it sent; empty when the ledger has no such row.
        outcome: of the answer; "error" for an error, "left" when nobody waited for it.
        began: number of exchanges before the call.
        ended: number of exchanges after it.
        alone: no other call went on at the same time.
    """

    tool: str
    arguments: dict[str, Any]
    attempt: str = ""
    outcome: str = "left"
    content: dict[str, Any] = field(default_factory=dict[str, Any])
    text: str = ""
    began: int = 0
    ended: int = 0
    alone: bool = True

    @property
    def write(self) -> RequestedWrite:
        name = self.arguments.get("new_vm_name", self.arguments.get("name", ""))
        target = self.arguments.get("snapshot_id", self.arguments.get("vm_id", 0))
        return RequestedWrite(self.tool, target, name)

    @property
    def told_id(self) -> int:
        """The id of what was made, or deleted, as the answer says it."""
        kinds = ("snapshot", "virtual_machine", "image")
        made = next(filter(None, map(self.content.get, kinds)), None)
        return made["id"] if made else self.content.get("snapshot_id", 0)


class AttemptHistory(NamedTuple):
    """One attempt, seen from all sides."""

    attempt: str
    write: RequestedWrite
    rows: list[LedgerEntry]
    exchanges: list[Exchange]
    effects: list[Change]

    @property
    def accepted(self) -> int:
        """How often the cloud accepted a request of this attempt."""
        return sum(exchange.accepted_count for exchange in self.exchanges)

    @property
    def end(self) -> str:
        return next((row.event for row in self.rows if row.event in ENDS), "")

    @property
    def story(self) -> str:
        """What became of its requests."""
        return "; ".join(f"{it.fault}: {it.deliveries}" for it in self.exchanges)

    @property
    def repeated_by_a_proxy(self) -> bool:
        return any(isinstance(exchange.fault, SentTwice) for exchange in self.exchanges)


def attempt_histories(
    entries: Sequence[LedgerEntry], exchanges: Sequence[Exchange], changes: list[Change]
) -> dict[str, AttemptHistory]:
    """Every attempt that was sent, by its id."""
    sent = {entry.attempt: entry.write for entry in entries if entry.event == "sent"}
    return {
        attempt: AttemptHistory(
            attempt,
            write,
            [entry for entry in entries if entry.attempt == attempt],
            [exchange for exchange in exchanges if exchange.attempts == [attempt]],
            write.is_in(changes),
        )
        for attempt, write in sent.items()
    }


def find_inconsistencies(
    entries: Sequence[LedgerEntry],
    exchanges: Sequence[Exchange],
    changes: list[Change],
    told: Sequence[ToolCall],
) -> Iterator[str]:
    """A sentence for everything in which the three do not agree."""
    cases = attempt_histories(entries, exchanges, changes)
    yield from _check_changes(exchanges, changes)
    for case in cases.values():
        yield from _check_ledger(case)
    for call in told:
        case = cases.get(call.attempt)
        yield from _check_answer(call, case)
        looked = case is not None and call.alone and not case.repeated_by_a_proxy
        if call.outcome == "unknown" and case is not None and looked:
            yield from _check_unknown_outcome(call, case, exchanges[call.began : call.ended])


def _check_changes(exchanges: Sequence[Exchange], changes: list[Change]) -> Iterator[str]:
    writes = [exchange for exchange in exchanges if exchange.writing]
    for write in writes:
        if len(write.attempts) != 1:
            yield f"{len(write.attempts)} open attempts in the ledger as this left: {write}"
    accepted = Counter[RequestedWrite]()
    for exchange in writes:
        what = parse_write(exchange.method, exchange.path, exchange.name)
        accepted[what] += exchange.accepted_count
    made = {what: what.is_in(changes) for what in accepted}
    for what, times in accepted.items():
        if len(made[what]) != times:
            yield f"The cloud accepted {what} {times} times and shows {made[what]}."
    explained = [change for found in made.values() for change in found]
    if Counter(changes) != Counter(explained):
        yield f"Changed without a request: {Counter(changes) - Counter(explained)}"


def _check_ledger(case: AttemptHistory) -> Iterator[str]:
    events = [row.event for row in case.rows if row.event in ("sent", *ENDS)]
    if len(events) != 2 or events[0] != "sent":
        yield f"The rows of {case.write} are {events}."
    if case.accepted > 1:
        yield f"{case.write} took effect {case.accepted} times."
    reached = sum(bool(exchange.deliveries) for exchange in case.exchanges)
    if reached > 1:
        yield f"{reached} requests of {case.write} reached the cloud."
    if case.end == "done" and not case.effects:
        yield f"The ledger says that {case.write} is done, and the cloud does not show it."
    if case.end == "failed" and case.accepted:
        yield f"The ledger says that {case.write} failed, and the cloud did it: {case.story}"


def _check_answer(call: ToolCall, case: AttemptHistory | None) -> Iterator[str]:
    what = f"{call.outcome} was told of {call.write}: {call.text!r}"
    if call.outcome == "left":
        return
    if case is None:
        if call.outcome in (*HAPPENED, "failed", "unknown"):
            yield f"No attempt was sent. {what}"
        return
    if call.outcome == "confirmation_required":
        yield f"An attempt was sent. {what}"
    if call.outcome in ("error", "failed") and case.accepted:
        yield f"It happened. {what}"
    if call.outcome in HAPPENED:
        if call.told_id not in [change.number for change in case.effects]:
            yield f"It did not happen, or not with that id. {what}"
        if case.end != "done":
            yield f"The ledger says {case.end!r}. {what}"
    if call.outcome == "unknown" and case.end != "unknown":
        yield f"The ledger says {case.end!r}. {what}"


def _check_unknown_outcome(
    call: ToolCall, case: AttemptHistory, exchanges: Sequence[Exchange]
) -> Iterator[str]:
    """The server looked, and what it was shown would have told it."""
    first = next(place for place, it in enumerate(exchanges) if it in case.exchanges)
    reachable = first > 0 and exchanges[first - 1].answered
    looks = [it for it in exchanges[first:] if is_effect_lookup(it, case.write)]
    if not looks and reachable:
        yield f"The cloud was not even looked at, and it was called unknown: {call}"
    effect = [
        delivery.tick
        for exchange in case.exchanges
        for delivery in exchange.deliveries
        if delivery.accepted
    ]
    for look in looks:
        if look.answered and effect and look.deliveries[-1].tick > effect[0]:
            yield f"The cloud was looked at and showed it, but it was called unknown: {call}"
    fault = case.exchanges[-1].fault
    if looks and looks[-1].answered and not fault.may_complete_later and not effect:
        yield f"The cloud was looked at and did not show it, but it was called unknown: {call}"


def is_effect_lookup(exchange: Exchange, write: RequestedWrite) -> bool:
    """Whether this read shows what came of the write."""
    if exchange.writing:
        return False
    match write.tool:
        case "create_snapshot":
            return exchange.path.endswith("/core/snapshots") and exchange.search == write.name
        case "restore_snapshot":
            searched = exchange.search == write.name
            return exchange.path.endswith("/core/virtual-machines") and searched
        case _:
            return exchange.path.endswith(f"/core/snapshots/{write.target}")
