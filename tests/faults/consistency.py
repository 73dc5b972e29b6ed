"""Comparison of three parties: the state of the cloud, the ledger, and the answers to the client.

`find_inconsistencies` yields nothing if nothing was lost, nothing was done twice, and nothing was
reported that did not happen. A request that a proxy repeats is checked like any other: because
names are unique, only one of the two takes effect, and the refusal of the other must not be
reported as a failure. Reporting it as unknown is always accepted in this case, even if the effect
can be seen, because it may be the work of another client.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from tests.faults.change_log import ENDS, Change, LedgerEntry, RequestedWrite, parse_write
from tests.faults.faults import BusyWhileOthersChange, Kill, OthersChange, SentTwice
from tests.faults.transport import Exchange

SETTLED_WITHOUT_EFFECT = "settled after a crash: the cloud does not show it"
_REPEATABLE = ("create_snapshot",)
HAPPENED = ("created", "restored", "deleted", "pending")


@dataclass
class ToolCall:
    """One call of a tool and its answer.

    Attributes:
        attempt: id of the attempt that it sent; empty if the ledger has none.
        outcome: outcome of the answer; "error" for an error, "cancelled" if the caller left.
        first_exchange: number of exchanges before the call.
        end_exchange: number of exchanges after the call.
        exclusive: no other call ran at the same time.
    """

    tool: str
    arguments: dict[str, Any]
    attempt: str = ""
    outcome: str = "cancelled"
    content: dict[str, Any] = field(default_factory=dict[str, Any])
    text: str = ""
    first_exchange: int = 0
    end_exchange: int = 0
    exclusive: bool = True

    @property
    def write(self) -> RequestedWrite:
        name = self.arguments.get("new_vm_name", self.arguments.get("name", ""))
        target = self.arguments.get("snapshot_id", self.arguments.get("vm_id", 0))
        return RequestedWrite(self.tool, target, name)

    @property
    def affected_id(self) -> int:
        """The id of what was created or deleted, according to the answer."""
        kinds = ("snapshot", "virtual_machine", "image")
        made = next(filter(None, map(self.content.get, kinds)), None)
        return made["id"] if made else self.content.get("snapshot_id", 0)


class AttemptHistory(NamedTuple):
    """Everything that the three parties know about one attempt."""

    attempt: str
    write: RequestedWrite
    rows: list[LedgerEntry]
    exchanges: list[Exchange]
    effects: list[Change]
    deleted_snapshots: frozenset[int]

    @property
    def accepted_count(self) -> int:
        """Number of requests of this attempt that the cloud accepted."""
        return sum(exchange.accepted_count for exchange in self.exchanges)

    @property
    def ends(self) -> list[str]:
        """The outcomes that the ledger recorded; a later check may settle an unknown one."""
        return [row.event for row in self.rows if row.event in ENDS]

    @property
    def end(self) -> str:
        return self.ends[-1] if self.ends else ""

    @property
    def faults_and_deliveries(self) -> str:
        return "; ".join(f"{exchange.fault}: {exchange.deliveries}" for exchange in self.exchanges)

    @property
    def is_open(self) -> bool:
        """Whether its server was killed, and no later server has recorded its end."""
        killed = any(isinstance(exchange.fault, Kill) for exchange in self.exchanges)
        return killed and not self.ends

    @property
    def is_undone(self) -> bool:
        """Whether a later server looked for what a killed one created after it was deleted.

        The cloud does not show such a creation any more. `check` runs after each step, so a
        failure that is recorded while the cloud still shows the effect is found.
        """
        settled = self.rows[-1].reason == SETTLED_WITHOUT_EFFECT
        made = {effect.number for effect in self.effects if effect.change == "made"}
        return settled and bool(made) and made <= self.deleted_snapshots

    @property
    def others_interfered(self) -> bool:
        """Whether others changed the target, perhaps in the same way as this write."""
        faults = (OthersChange, BusyWhileOthersChange)
        return any(isinstance(exchange.fault, faults) for exchange in self.exchanges)

    @property
    def sent_twice(self) -> bool:
        return any(isinstance(exchange.fault, SentTwice) for exchange in self.exchanges)


def attempt_histories(
    entries: Sequence[LedgerEntry], exchanges: Sequence[Exchange], changes: list[Change]
) -> dict[str, AttemptHistory]:
    """Return every attempt that was sent, by its id."""
    sent = {entry.attempt: entry.write for entry in entries if entry.event == "sent"}
    deleted = frozenset(change.number for change in changes if change[:2] == ("gone", "snapshot"))
    return {
        attempt: AttemptHistory(
            attempt,
            write,
            [entry for entry in entries if entry.attempt == attempt],
            [exchange for exchange in exchanges if exchange.attempts == [attempt]],
            write.effects_in(changes),
            deleted,
        )
        for attempt, write in sent.items()
    }


def find_inconsistencies(
    entries: Sequence[LedgerEntry],
    exchanges: Sequence[Exchange],
    changes: list[Change],
    calls: Sequence[ToolCall],
    *,
    stale: bool = False,
) -> Iterator[str]:
    """Yield one sentence for each contradiction between the three parties.

    Args:
        entries: the ledger.
        exchanges: the requests.
        changes: the changes in the cloud.
        calls: the calls and their answers.
        stale: whether reads may be behind, so that the server may not see an effect.
    """
    cases = attempt_histories(entries, exchanges, changes)
    yield from _check_changes(exchanges, changes)
    for case in cases.values():
        yield from _check_ledger(case)
    for call in calls:
        case = cases.get(call.attempt)
        is_repetition = call.affected_id in [
            change.number for change in call.write.effects_in(changes) if call.tool in _REPEATABLE
        ]
        if case is None and is_repetition and call.outcome in HAPPENED:
            continue  # the answer is the result of an equal call
        is_equal = any(case.write == call.write for case in cases.values())
        if case is None and is_equal and call.tool in _REPEATABLE and call.outcome == "unknown":
            continue  # likewise
        yield from _check_answer(call, case)
        if case is None or call.outcome != "unknown" or not call.exclusive:
            continue
        if stale or case.sent_twice or case.others_interfered:
            continue
        call_exchanges = exchanges[call.first_exchange : call.end_exchange]
        yield from _check_unknown_outcome(call, case, call_exchanges)


def _check_changes(exchanges: Sequence[Exchange], changes: list[Change]) -> Iterator[str]:
    writes = [exchange for exchange in exchanges if exchange.writing]
    for write in writes:
        if len(write.attempts) != 1:
            yield f"{len(write.attempts)} open attempts in the ledger as this left: {write}"
    accepted = Counter[RequestedWrite]()
    for exchange in writes:
        requested = parse_write(exchange.method, exchange.path, exchange.name)
        accepted[requested] += exchange.accepted_count
    changes = [change for change in changes if not change.by_others]
    effects = {requested: requested.effects_in(changes) for requested in accepted}
    for requested, count in accepted.items():
        if len(effects[requested]) != count:
            yield f"The cloud accepted {requested} {count} times and shows {effects[requested]}."
    explained = [change for requested in effects for change in effects[requested]]
    if Counter(changes) != Counter(explained):
        yield f"Changed without a request: {Counter(changes) - Counter(explained)}"


def _check_ledger(case: AttemptHistory) -> Iterator[str]:
    events = [row.event for row in case.rows if row.event in ("sent", *ENDS)]
    is_settled_later = events[1:2] == ["unknown"] and len(events) == 3
    if events[:1] != ["sent"] or not (len(events) == 2 or is_settled_later or case.is_open):
        yield f"The rows of {case.write} are {events}."
    if case.accepted_count > 1:
        yield f"{case.write} took effect {case.accepted_count} times."
    delivered = sum(bool(exchange.deliveries) for exchange in case.exchanges)
    if delivered > 1:
        yield f"{delivered} requests of {case.write} reached the cloud."
    if case.end == "done" and not case.effects:
        yield f"The ledger says that {case.write} is done, and the cloud does not show it."
    if case.end == "failed" and case.accepted_count and not case.is_undone:
        faults = case.faults_and_deliveries
        yield f"The ledger says that {case.write} failed, and the cloud did it: {faults}"


def _check_answer(call: ToolCall, case: AttemptHistory | None) -> Iterator[str]:
    answer = f"{call.outcome} was the answer to {call.write}: {call.text!r}"
    if call.outcome == "cancelled":
        return
    if case is None:
        if call.outcome in (*HAPPENED, "failed", "unknown"):
            yield f"No attempt was sent. {answer}"
        return
    if call.outcome == "confirmation_required" and (case.accepted_count or case.end != "failed"):
        # A new plan is the answer if the target changed before the cloud accepted the write.
        yield f"An attempt was sent. {answer}"
    if call.outcome in ("error", "failed") and case.accepted_count:
        yield f"It happened. {answer}"
    if call.outcome in HAPPENED:
        if call.affected_id not in [change.number for change in case.effects]:
            yield f"It did not happen, or not with that id. {answer}"
        is_refused = call.outcome == "pending" and call.tool == "delete_snapshot"
        if case.end != "done" and not (is_refused and "unknown" in case.ends):
            # Refused because an earlier deletion, perhaps of the same request, is in progress.
            yield f"The ledger says {case.end!r}. {answer}"
    if call.outcome == "unknown" and "unknown" not in case.ends:
        yield f"The ledger says {case.end!r}. {answer}"


def _check_unknown_outcome(
    call: ToolCall, case: AttemptHistory, exchanges: Sequence[Exchange]
) -> Iterator[str]:
    """Check that the server looked for the effect and could not have known the outcome."""
    first = next(index for index, exchange in enumerate(exchanges) if exchange in case.exchanges)
    reachable = first > 0 and exchanges[first - 1].answered
    lookups = [exchange for exchange in exchanges[first:] if is_effect_lookup(exchange, case.write)]
    if not lookups and reachable:
        yield f"The server did not look for the effect, but the answer was unknown: {call}"
    effect_ticks = [
        delivery.tick
        for exchange in case.exchanges
        for delivery in exchange.deliveries
        if delivery.accepted
    ]
    for lookup in lookups:
        if lookup.answered and effect_ticks and lookup.deliveries[-1].tick > effect_ticks[0]:
            yield f"The cloud showed the effect, but the answer was unknown: {call}"
    fault = case.exchanges[-1].fault
    if lookups and lookups[-1].answered and not fault.may_complete_later and not effect_ticks:
        yield f"The cloud showed no effect, but the answer was unknown: {call}"


def is_effect_lookup(exchange: Exchange, write: RequestedWrite) -> bool:
    """Return whether this request reads what shows the effect of the write."""
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
