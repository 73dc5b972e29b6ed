"""The question to the person, and the facts of a plan that it shares with the plan's text."""

from collections.abc import Iterator

from snapshot_mcp.core.sanitize import cell_text, quote_unless_word, quoted
from snapshot_mcp.models.snapshots import BlastRadius

QUESTION_OPENING = "An assistant asks for your consent."


def build_question(plan: BlastRadius, confirm_with: str) -> str:
    """Return the question. It depends on the plan alone, so every round asks the same."""
    lines = [
        QUESTION_OPENING,
        plan.action,
        ", ".join(plan_facts(plan)),
        *plan.warnings,
        _instruction(confirm_with),
    ]
    return "\n".join(lines)


def _instruction(confirm_with: str) -> str:
    # A name may be a whole sentence. It must not read as if it were part of the question.
    if quote_unless_word(confirm_with) == confirm_with:
        return f"To agree, type exactly: {confirm_with}"
    return f"To agree, type exactly the text between the quotation marks: {quoted(confirm_with)}"


def plan_facts(plan: BlastRadius) -> Iterator[str]:
    """Yield what the write would affect, a few words each. Dates are used, as ages change."""
    yield f"VM {cell_text(plan.vm_id)} {quoted(plan.vm_name or '')}"
    yield f"{cell_text(plan.size)} GB"
    yield f"taken {plan.created_at:%Y-%m-%d %H:%M} UTC" if plan.created_at else "taken at ?"
    yield plan.state
    if plan.newer_of_vm is not None:
        yield f"{plan.older_of_vm} older and {plan.newer_of_vm} newer ready snapshots of its VM"
    if plan.new_vm_name is not None:
        yield f"flavor {cell_text(plan.flavor)}"
        yield f"GPUs {cell_text(plan.gpus)}" if plan.gpus else "no GPUs"
        yield f"region {cell_text(plan.region)}"
        price = plan.price_per_hour_estimate
        yield "price not known" if price is None else f"about {price} per hour (an estimate)"
