"""The target of a plan as it is now: one snapshot, or a batch of snapshots."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple, Protocol

from snapshot_mcp.consent.confirmation_words import target_words
from snapshot_mcp.consent.evidence import Question
from snapshot_mcp.consent.plan_tokens import digest
from snapshot_mcp.consent.question import build_question, plan_facts
from snapshot_mcp.core.markup import disarm
from snapshot_mcp.core.sanitize import cell_text, is_plain_word, quoted_exactly
from snapshot_mcp.models.cloud import Snapshot
from snapshot_mcp.models.rehearsals import VmDeletion
from snapshot_mcp.models.snapshots import BlastRadius

_MAX_TEXT_LENGTH = 100
_MAX_LABELS = 8
_NONE = "none"
_UNKNOWN = "unknown"
_LAST_COPY = "last ready snapshot of its VM"
_VM_STATUS = "its VM"
_VM_DELETED = "deleted"


class ApprovalSubject(Protocol):
    """The facts about the target of a plan that the gate uses."""

    @property
    def state(self) -> str:
        """Digest of everything that must not change between plan and commit."""
        ...

    @property
    def confirm_with(self) -> str:
        """The confirmation words."""
        ...

    @property
    def question(self) -> Question:
        """The question to the person."""
        ...

    @property
    def summary(self) -> str:
        """The facts and the warnings of the plan, in one line for the ledger."""
        ...


class Target(NamedTuple):
    """One snapshot that is about to be deleted or restored, or one VM.

    Attributes:
        facts: everything that must not change between plan and commit, as "name: value".
        confirm_with: the confirmation words.
        radius: what the write would affect.
    """

    facts: list[str]
    confirm_with: str
    radius: BlastRadius | VmDeletion

    @property
    def state(self) -> str:
        """Digest of the facts."""
        return digest(self.facts)

    @property
    def question(self) -> Question:
        """The question to the person."""
        return Question(build_question(self.radius, self.confirm_with), self.state)

    @property
    def summary(self) -> str:
        """The facts and the warnings of the plan, in one line for the ledger."""
        return "; ".join([*plan_facts(self.radius), *self.radius.warnings])


class BatchTarget(NamedTuple):
    """Snapshots that one plan deletes; attributes as in `ApprovalSubject`."""

    state: str
    confirm_with: str
    question: Question
    summary: str


def snapshot_target(snapshot: Snapshot, radius: BlastRadius) -> Target:
    """Return the target of a plan for one snapshot.

    The confirmation words are the name of the snapshot or its id.
    """
    words = target_words(snapshot.name, snapshot.id, snapshot.altered or ())
    facts = [f"{name}: {value}" for name, value in _facts(snapshot, radius)]
    return Target(facts, words, radius)


def vm_target(deletion: VmDeletion) -> Target:
    """Return the target of a plan that deletes one VM, which its name or its id confirms."""
    facts = [
        f"name: {_text(deletion.name)}",
        f"created: {deletion.created_at}",
        f"flavor: {_text(deletion.flavor)}",
        f"region: {_text(deletion.region)}",
        f"snapshot: {deletion.snapshot_id}",
    ]
    return Target(facts, target_words(deletion.name, deletion.vm_id), deletion)


def describe_changes(planned: Sequence[str], current: Sequence[str]) -> str:
    """Return what differs between the facts of a plan and the current ones, in one line."""
    before, now = (dict(fact.split(": ", 1) for fact in facts) for facts in (planned, current))
    changes = [
        _describe_change(name, before.get(name, _NONE), now.get(name, _NONE))
        for name in before | now
        if before.get(name) != now.get(name)
    ]
    return "; ".join(changes)


def _facts(snapshot: Snapshot, radius: BlastRadius) -> Iterator[tuple[str, str]]:
    # Everything that the person approves: the target itself, and the reasons for caution. Not the
    # number of its siblings, so that the snapshots of one VM can be deleted in any order, each with
    # its own plan; and neither ages nor prices, which change all the time.
    yield "name", _text(snapshot.name)
    yield "status", _word(snapshot.status)
    yield "size", f"{cell_text(snapshot.size)} GB"
    yield "taken", str(snapshot.created_at or "?")
    yield "updated", str(snapshot.updated_at or "?")
    yield "VM", f"{cell_text(snapshot.vm_id)} {_text(snapshot.vm_name)}"
    yield "labels", _UNKNOWN if snapshot.labels is None else _labels(snapshot.labels)
    yield "description", _text(snapshot.description)
    yield "altered fields", ", ".join(snapshot.altered or ()) or _NONE
    if radius.new_vm_name is None:
        yield _LAST_COPY, _yes_or_no(radius.last_ready_of_vm)
        yield _VM_STATUS, _VM_DELETED if radius.vm_gone else "not known to be deleted"
        yield "image", radius.derived_image or (_NONE if snapshot.image_is_known else _UNKNOWN)
    else:
        yield "new VM", _text(radius.new_vm_name)
        yield "flavor", _text(radius.flavor)
        yield "GPUs", _text(radius.gpus)
        yield "region", _text(radius.region)


def _text(text: str | None) -> str:
    """Return text of others in quotation marks. A long one is cut, and its digest added.

    Its markup stays, because a difference in it is a change; `describe_changes` disarms it.
    """
    if not text:
        return _NONE
    if len(text) <= _MAX_TEXT_LENGTH:
        return quoted_exactly(text)
    return f"{quoted_exactly(text[:_MAX_TEXT_LENGTH] + '…')} ({digest(text)})"


def _word(text: str | None) -> str:
    return text if text and is_plain_word(text) else _text(text)


def _labels(labels: Sequence[str]) -> str:
    ordered = sorted(labels)
    shown = ", ".join(map(_text, ordered[:_MAX_LABELS])) or _NONE
    more = len(ordered) - _MAX_LABELS
    return f"{shown} and {more} more ({digest(ordered)})" if more > 0 else shown


def _yes_or_no(answer: bool | None) -> str:  # noqa: FBT001 - a fact with an unknown value
    return _UNKNOWN if answer is None else "yes" if answer else "no"


_SENTENCES = {
    (_LAST_COPY, "yes"): f"it is now the {_LAST_COPY}",
    (_LAST_COPY, "no"): f"it is no longer the {_LAST_COPY}",
    (_VM_STATUS, _VM_DELETED): "its VM is deleted now",
}


def _describe_change(name: str, before: str, now: str) -> str:
    return _SENTENCES.get((name, now)) or disarm(f"{name} {before} -> {now}")
