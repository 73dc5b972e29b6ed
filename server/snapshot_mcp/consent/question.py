"""The facts of a plan in a few lines, the same in the plan's text and in the question."""

from collections.abc import Iterator

from snapshot_mcp.core.sanitize import cell_text, quote_unless_word, quoted
from snapshot_mcp.models.snapshots import BlastRadius

OPENING = "An assistant asks for your consent."


def question(plan: BlastRadius, confirm_with: str) -> str:
    """What a person is asked. It depends on the plan alone, so every round asks the same."""
    lines = [
        OPENING,
        plan.action,
        ", ".join(facts(plan)),
        *plan.warnings,
        _words_to_type(confirm_with),
    ]
    return "\n".join(lines)


def _words_to_type(confirm_with: str) -> str:
    # A name may be a sentence; it must not read as one of ours.
    if quote_unless_word(confirm_with) == confirm_with:
        return f"To agree, type exactly: {confirm_with}"
    return f"To agree, type exactly what the quotation marks hold: {quoted(confirm_with)}"


def facts(plan: BlastRadius) -> Iterator[str]:
    """What the action would touch, a few words each. Ages are told as dates, which stay true."""
    yield f"VM {cell_text(plan.vm_id)} {quoted(plan.vm_name or '')}"
    yield f"{cell_text(plan.size)} GB"
    yield f"taken {plan.created_at:%Y-%m-%d %H:%M} UTC" if plan.created_at else "taken at ?"
    yield plan.state
    if plan.newer_of_vm is not None:
        yield f"{plan.older_of_vm} older and {plan.newer_of_vm} newer ready ones of its VM"
    if plan.new_vm_name is not None:
        yield f"flavor {cell_text(plan.flavor)}"
        yield f"GPUs {cell_text(plan.gpus)}" if plan.gpus else "no GPUs"
        yield f"region {cell_text(plan.region)}"
        price = plan.price_per_hour_estimate
        yield "price not known" if price is None else f"about {price} per hour (an estimate)"
