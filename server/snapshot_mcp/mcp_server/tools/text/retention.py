"""The answers of retention as text; see `tools/text.py`."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby

from snapshot_mcp.core.sanitize import cell_text, quote_unless_word, quoted
from snapshot_mcp.models.retention import (
    NamedSnapshot,
    RetentionDecision,
    RetentionPlan,
    RetentionReport,
)


def plan(answer: RetentionPlan) -> str:
    """What goes, a line each; then what stays, with the reason."""
    head = f"{answer.outcome}: of {answer.total} snapshots {answer.keep_count} stay"
    if answer.delete_count:
        head += (
            f", {answer.delete_count} go: {answer.reclaimed_gb} GB, about"
            f" {answer.saved_per_month_estimate:.2f} a month (an estimate)"
        )
    return "\n".join([head, *_decisions(answer.decisions), *_end(answer)])


def report(answer: RetentionReport) -> str:
    """What became of each snapshot of the plan."""
    lines = [f"{answer.outcome}: {len(answer.deleted)} deleted, {answer.reclaimed_gb} GB"]
    lines += _names("deleted", answer.deleted)
    lines += _names("pending", answer.pending)
    lines += _names("unknown", answer.unknown)
    lines += [f"skipped {_name(it)}: {it.why}" for it in answer.skipped]
    if answer.not_attempted:
        lines.append(f"not attempted: {', '.join(map(str, answer.not_attempted))}")
    return "\n".join([*lines, answer.next_step])


def _decisions(decisions: Sequence[RetentionDecision]) -> Iterator[str]:
    if decisions:
        yield "id name GB taken(UTC) vm_id"
    for keep, members in groupby(decisions, lambda it: it.keep):
        yield "stay, and why:" if keep else "go, since no rule keeps them:"
        yield from map(_line, members)


def _line(decision: RetentionDecision) -> str:
    taken = f"{decision.created_at:%Y-%m-%d}" if decision.created_at else "?"
    cells = [str(decision.id), quote_unless_word(decision.name), cell_text(decision.size), taken]
    line = " ".join([*cells, cell_text(decision.vm_id)])
    reasons = decision.reasons if decision.keep else decision.reasons[1:]  # the first is the head's
    return "; ".join([line, *reasons])


def _end(answer: RetentionPlan) -> Iterator[str]:
    if answer.next_cursor:
        yield f"next_cursor {answer.next_cursor}"
    if answer.plan_token:
        yield f"The person agrees by giving the words {quoted(answer.confirm_with or '')}."
        yield f"plan_token {answer.plan_token} (until {answer.expires_at:%Y-%m-%d %H:%M} UTC)"
    yield answer.next_step


def _names(what: str, snapshots: Iterable[NamedSnapshot]) -> Iterator[str]:
    named = ", ".join(map(_name, snapshots))
    if named:
        yield f"{what}: {named}"


def _name(snapshot: NamedSnapshot) -> str:
    return (
        f"{snapshot.id} {quote_unless_word(snapshot.name)}" if snapshot.name else str(snapshot.id)
    )
