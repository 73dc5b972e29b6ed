"""The question to the person, and the facts of a plan that it shares with the plan's text."""

from collections.abc import Iterator

from snapshot_mcp.core.sanitize import cell_text, quote_unless_word, quoted
from snapshot_mcp.models.costs import CURRENCY
from snapshot_mcp.models.rehearsals import VmDeletion
from snapshot_mcp.models.snapshots import BlastRadius

QUESTION_OPENING = "An assistant asks for your consent."


def build_question(radius: BlastRadius | VmDeletion, confirm_with: str) -> str:
    """Return the question, which is the same in every round of one call."""
    lines = [
        QUESTION_OPENING,
        radius.action,
        ", ".join(plan_facts(radius)),
        *radius.warnings,
        _instruction(confirm_with),
    ]
    return "\n".join(lines)


def _instruction(confirm_with: str) -> str:
    # A name can be a complete sentence. It must not look like a part of the question.
    if quote_unless_word(confirm_with) == confirm_with:
        return f"To agree, type exactly: {confirm_with}"
    return f"To agree, type exactly the text between the quotation marks: {quoted(confirm_with)}"


def plan_facts(radius: BlastRadius | VmDeletion) -> Iterator[str]:
    """Yield short facts about a write. They contain dates instead of ages, which change."""
    if isinstance(radius, VmDeletion):
        yield from _vm_facts(radius)
        return
    yield f"VM {cell_text(radius.vm_id)} {quoted(radius.vm_name or '')}"
    yield f"{cell_text(radius.size)} GB"
    yield f"taken {radius.created_at:%Y-%m-%d %H:%M} UTC" if radius.created_at else "taken at ?"
    yield radius.state
    if radius.newer_of_vm is not None:
        yield f"{radius.older_of_vm} older and {radius.newer_of_vm} newer ready snapshots of its VM"
    if radius.new_vm_name is not None:
        yield f"flavor {cell_text(radius.flavor)}"
        yield f"GPUs {cell_text(radius.gpus)}" if radius.gpus else "no GPUs"
        yield f"region {cell_text(radius.region)}"
        price = radius.price_per_hour_estimate
        yield (
            "price not known"
            if price is None
            else f"about {price} {CURRENCY} per hour (an estimate)"
        )
        if radius.contract is not None:
            yield f"contract {radius.contract}"
        if radius.credit is not None:
            yield f"credit {radius.credit:.2f} {CURRENCY}"
        if radius.free_gpus is not None:
            yield f"{radius.free_gpus} of these GPUs free in the region"


def _vm_facts(deletion: VmDeletion) -> Iterator[str]:
    yield cell_text(deletion.status)
    yield f"flavor {cell_text(deletion.flavor)}"
    yield f"region {cell_text(deletion.region)}"
    yield f"created {deletion.created_at:%Y-%m-%d %H:%M} UTC"
    price = deletion.saved_per_hour_estimate
    yield "price not known" if price is None else f"saves about {price} {CURRENCY} per hour"
