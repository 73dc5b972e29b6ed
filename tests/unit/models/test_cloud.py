"""Models: states, names, and the validation of arguments."""

import unicodedata
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from snapshot_mcp.core.sanitize import MAX_DESCRIPTION_LENGTH, is_sanitized
from snapshot_mcp.models.cloud import (
    MAX_ID,
    MAX_LABEL_LENGTH,
    MAX_LABELS,
    MAX_NAME_LENGTH,
    Description,
    Environment,
    Flavor,
    Id,
    Keypair,
    Labels,
    Name,
    Snapshot,
    VirtualMachine,
    snapshot_state,
    status_word,
)
from snapshot_mcp.models.snapshots import SnapshotSummary, VirtualMachineSummary

AN_ID = TypeAdapter[int](Id)
A_NAME = TypeAdapter[str](Name)
A_DESCRIPTION = TypeAdapter[str](Description)
SOME_LABELS = TypeAdapter[list[str]](Labels)


@pytest.mark.parametrize(
    "status",
    ["SUCCESS", "SUCCESSFUL", "COMPLETE", "COMPLETED", "AVAILABLE", "success", " Success "],
)
def test_each_success_status_of_the_cloud_means_ready(status: str) -> None:
    assert snapshot_state(status) == Snapshot(id=1, status=status).state == "ready"


@pytest.mark.parametrize(
    "status", ["CREATING", "PENDING", "QUEUED", "SCHEDULED", "SAVING", "IN_PROGRESS", "creating"]
)
def test_a_snapshot_in_progress_is_pending(status: str) -> None:
    assert snapshot_state(status) == "pending"


@pytest.mark.parametrize("status", ["ERROR", "FAILED", "error"])
def test_a_snapshot_that_failed_is_failed(status: str) -> None:
    assert snapshot_state(status) == "failed"


@pytest.mark.parametrize("status", ["DELETING", "DELETED", "deleting"])
def test_a_snapshot_that_is_being_deleted_is_deleting(status: str) -> None:
    assert snapshot_state(status) == "deleting"


@pytest.mark.parametrize(
    "status", [None, "", "DELETION", "SUCCESS!", "NOT SUCCESS", "UNSUCCESSFUL"]
)
def test_any_other_status_is_unknown(status: str | None) -> None:
    assert snapshot_state(status) == "unknown"


@given(st.text(max_size=20))
def test_no_unlisted_status_means_ready(status: str) -> None:
    successes = {"SUCCESS", "SUCCESSFUL", "COMPLETE", "COMPLETED", "AVAILABLE"}
    assert (snapshot_state(status) == "ready") == (status.strip().upper() in successes)


@pytest.mark.parametrize(
    ("vm_status", "gone"),
    [
        ("DELETED", True),
        ("deleted", True),
        ("DELETING", False),
        ("ACTIVE", False),
        (None, None),
        ("", None),
    ],
)
def test_a_vm_is_gone_only_if_the_cloud_reports_it(
    vm_status: str | None, *, gone: bool | None
) -> None:
    assert Snapshot(id=1, vm_status=vm_status).vm_gone is gone


def test_a_snapshot_is_immutable() -> None:
    snapshot = Snapshot(id=1, name="web")
    with pytest.raises(ValidationError):
        snapshot.__setattr__("name", "other")
    assert snapshot.name == "web"


def test_the_region_of_a_vm_comes_from_its_environment_or_else_its_flavor() -> None:
    flavor = Flavor(region_name="CANADA-1")
    nowhere, norway = Environment(), Environment(region="NORWAY-1")
    assert VirtualMachine(id=1, flavor=flavor, environment=norway).region == "NORWAY-1"
    assert VirtualMachine(id=1, flavor=flavor, environment=nowhere).region == "CANADA-1"
    assert VirtualMachine(id=1, flavor=flavor).region == "CANADA-1"
    assert VirtualMachine(id=1, environment=norway).region == "NORWAY-1"
    assert VirtualMachine(id=1).region is None


def test_a_public_key_is_not_part_of_a_result() -> None:
    snapshot = Snapshot(id=1, vm_keypair=Keypair(name="ops", public_key="ssh-ed25519 AAAA"))
    assert "ssh-ed25519" not in snapshot.model_dump_json()


def test_a_summary_has_the_status_only_if_its_meaning_is_unknown() -> None:
    taken = datetime(2026, 5, 7, tzinfo=UTC)
    ready = Snapshot(id=7, name="a", status="SUCCESS", vm_id=3, vm_name="b", size=4)
    assert SnapshotSummary.from_snapshot(ready).status is None
    odd = Snapshot(id=7, name="a", status="THAWING", created_at=taken, labels=("x",))
    assert SnapshotSummary.from_snapshot(odd) == SnapshotSummary(
        id=7, name="a", state="unknown", status="THAWING", created_at=taken, labels=("x",)
    )


def test_a_vm_without_an_obstacle_can_be_snapshotted() -> None:
    vm = VirtualMachine(id=3, name="b", status="ACTIVE", flavor=Flavor(name="n1"))
    can, cannot = (
        VirtualMachineSummary.from_virtual_machine(vm, None),
        VirtualMachineSummary.from_virtual_machine(vm, "it is busy"),
    )
    assert (can.can_snapshot, can.why_not, can.flavor) == (True, None, "n1")
    assert (cannot.can_snapshot, cannot.why_not) == (False, "it is busy")
    assert VirtualMachineSummary.from_virtual_machine(VirtualMachine(id=3), None).flavor is None


@pytest.mark.parametrize("value", [1, 1701, MAX_ID])
def test_an_id_is_a_positive_number_that_fits_the_ledger(value: int) -> None:
    assert AN_ID.validate_python(value) == value


@pytest.mark.parametrize("value", [0, -1, MAX_ID + 1, 10**30])
def test_a_number_out_of_range_is_not_an_id(value: int) -> None:
    with pytest.raises(ValidationError):
        AN_ID.validate_python(value)


def test_a_name_has_one_to_fifty_characters() -> None:
    assert A_NAME.validate_python("x" * MAX_NAME_LENGTH) == "x" * MAX_NAME_LENGTH
    for wrong in ("", "x" * (MAX_NAME_LENGTH + 1)):
        with pytest.raises(ValidationError):
            A_NAME.validate_python(wrong)


@pytest.mark.parametrize(
    "text",
    [" web", "web ", " ", "a\nb", "a\u200bb", "a\u202eb", "a\u00a0b", "\ue000"],
)
def test_text_that_sanitizing_would_alter_is_rejected(text: str) -> None:
    with pytest.raises(ValidationError, match="line breaks, control or invisible"):
        A_NAME.validate_python(text)
    with pytest.raises(ValidationError):
        A_DESCRIPTION.validate_python(text)
    with pytest.raises(ValidationError):
        SOME_LABELS.validate_python(["fine", text])


@given(st.text(max_size=60))
def test_a_name_is_normalized_to_nfc_or_rejected(text: str) -> None:
    usual = unicodedata.normalize("NFC", text)
    if 1 <= len(text) <= MAX_NAME_LENGTH and is_sanitized(usual):
        assert A_NAME.validate_python(text) == usual
    else:
        with pytest.raises(ValidationError):
            A_NAME.validate_python(text)


def test_a_description_may_be_empty_and_has_a_maximum_length() -> None:
    assert A_DESCRIPTION.validate_python("") == ""
    assert (
        A_DESCRIPTION.validate_python("x" * MAX_DESCRIPTION_LENGTH) == "x" * MAX_DESCRIPTION_LENGTH
    )
    with pytest.raises(ValidationError):
        A_DESCRIPTION.validate_python("x" * (MAX_DESCRIPTION_LENGTH + 1))


def test_labels_are_limited_in_number_and_length() -> None:
    assert len(SOME_LABELS.validate_python(["x" * MAX_LABEL_LENGTH] * MAX_LABELS)) == MAX_LABELS
    for wrong in (["x"] * (MAX_LABELS + 1), ["x" * (MAX_LABEL_LENGTH + 1)], [""]):
        with pytest.raises(ValidationError):
            SOME_LABELS.validate_python(wrong)


@pytest.mark.parametrize("status", ["\u017fucce\u017f\u017f", "act\u0131ve", "deleted\u200b"])
def test_a_status_that_imitates_another_one_is_unknown(status: str) -> None:
    assert snapshot_state(status) == "unknown"
    assert status_word(status) == status
