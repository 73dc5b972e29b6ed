"""Text of the results of retention: the plan, and the report about its deletions."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby

from snapshot_mcp.core.sanitize import cell_text, quote_unless_word, quoted
from snapshot_mcp.models.retention import (
    NamedSnapshot,
    RetentionDecision,
    RetentionPlan,
    RetentionReport,
)


def render_plan(result: RetentionPlan) -> str:
    """Return one line for each snapshot: first those to delete, then those to keep and why."""
    head = f"{result.outcome}: keeps {result.keep_count} of {result.total} snapshots"
    if result.delete_count:
        head += (
            f", deletes {result.delete_count}: {result.reclaimed_gb} GB, about"
            f" {result.saved_per_month_estimate:.2f} {result.currency} a month (an estimate)"
        )
    return "\n".join([head, *_decision_lines(result.decisions), *_plan_end(result)])


def render_report(result: RetentionReport) -> str:
    """Return the result of each deletion of a plan."""
    lines = [f"{result.outcome}: {len(result.deleted)} deleted, {result.reclaimed_gb} GB"]
    lines += _names_line("deleted", result.deleted)
    lines += _names_line("pending", result.pending)
    lines += _names_line("unknown", result.unknown)
    lines += [f"skipped {_name(snapshot)}: {snapshot.why}" for snapshot in result.skipped]
    if result.not_attempted:
        lines.append(f"not attempted: {', '.join(map(str, result.not_attempted))}")
    return "\n".join([*lines, result.next_step])


def _decision_lines(decisions: Sequence[RetentionDecision]) -> Iterator[str]:
    if decisions:
        yield "id name GB taken(UTC) vm_id"
    for keep, group in groupby(decisions, lambda decision: decision.keep):
        yield "keep, and why:" if keep else "delete, since no rule keeps them:"
        yield from map(_decision_line, group)


def _decision_line(decision: RetentionDecision) -> str:
    taken = f"{decision.created_at:%Y-%m-%d}" if decision.created_at else "?"
    name, size = quote_unless_word(decision.name), cell_text(decision.size)
    line = " ".join([str(decision.id), name, size, taken, cell_text(decision.vm_id)])
    # The first reason of a deletion is in the line above the group.
    reasons = decision.reasons if decision.keep else decision.reasons[1:]
    return "; ".join([line, *reasons])


def _plan_end(result: RetentionPlan) -> Iterator[str]:
    if result.unreadable:
        yield f"{result.unreadable} entries could not be read: they count as no copy and stay."
    if result.next_cursor:
        yield f"next_cursor {result.next_cursor}"
    if result.plan_token:
        yield f"The person agrees by giving the words {quoted(result.confirm_with or '')}."
        yield f"plan_token {result.plan_token} (until {result.expires_at:%Y-%m-%d %H:%M} UTC)"
    yield result.next_step


def _names_line(label: str, snapshots: Iterable[NamedSnapshot]) -> Iterator[str]:
    names = ", ".join(map(_name, snapshots))
    if names:
        yield f"{label}: {names}"


def _name(snapshot: NamedSnapshot) -> str:
    return (
        f"{snapshot.id} {quote_unless_word(snapshot.name)}" if snapshot.name else str(snapshot.id)
    )
