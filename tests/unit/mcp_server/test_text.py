"""Text of the results: missing values never break a line, and foreign text stays quoted."""

import re
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from snapshot_mcp.core.sanitize import quote_unless_word
from snapshot_mcp.mcp_server.tools.text import snapshots as text
from snapshot_mcp.models.cloud import (
    CustomImage,
    Environment,
    Features,
    Flavor,
    Keypair,
    Snapshot,
    SnapshotState,
    VmImage,
)
from snapshot_mcp.models.snapshots import (
    BlastRadius,
    CreateResult,
    DeleteResult,
    RestoreResult,
    SnapshotDetails,
    SnapshotList,
    SnapshotSummary,
    VirtualMachineList,
    VirtualMachineSummary,
)

TAKEN = datetime(2026, 5, 7, 9, 10, 11, tzinfo=UTC)
FULL = SnapshotSummary(
    id=1701,
    name="web",
    state="ready",
    vm_id=5,
    vm_name="box",
    size=40,
    created_at=TAKEN,
    labels=("prod", "db"),
)
BARE = SnapshotSummary(id=1, name="", state="unknown")
VM = VirtualMachineSummary(
    id=5, name="box", status="ACTIVE", flavor="n1", region="NORWAY-1", can_snapshot=True
)
BARE_VM = VirtualMachineSummary(id=5, name="", can_snapshot=True)
BARE_PLAN = BlastRadius(action="Do it.", snapshot_id=1, name="", state="unknown")


def details(snapshot: Snapshot, **facts: object) -> str:
    result = SnapshotDetails.model_validate(
        {"snapshot": snapshot, "state": snapshot.state, "vm_gone": snapshot.vm_gone, **facts}
    )
    return text.render_snapshot_details(result)


def test_a_list_of_snapshots_has_a_head_a_legend_and_one_line_each() -> None:
    named = FULL.model_copy(update={"id": 1702, "name": "two words", "labels": ("a b",)})
    result = SnapshotList(snapshots=(FULL, named), total=3, total_size=90, next_cursor="abc")
    head, legend, first, second, *_, end = text.render_snapshot_list(result).splitlines()
    assert head == "3 snapshots, 90 GB; 2 here"
    assert legend == "id name GB taken(UTC 2026) vm_id labels; state if not ready; = as above"
    # One VM has both on one day, so the time of day is shown.
    assert first.startswith("1701 web 40 05-07 09:10 5")
    assert first.endswith(" prod,db")
    assert second.startswith('1702 "two words" 40 = 09:10 5')
    assert second.endswith(' "a b"')
    assert "box" in text.render_snapshot_list(result)
    assert end == "next_cursor abc"


def test_a_line_has_a_short_date_and_a_state_unless_it_is_ready() -> None:
    def line(**changes: object) -> str:
        other = FULL.model_copy(update={"id": 1702, "labels": (), **changes})
        result = SnapshotList(snapshots=(FULL, other), total=2, total_size=0, next_cursor="")
        first, second = text.render_snapshot_list(result).splitlines()[2:4]
        assert first.startswith("1701 web 40 05-07 5")
        return second

    earlier = datetime(2025, 12, 31, 23, 59, tzinfo=UTC)
    assert line(created_at=earlier).startswith("1702 web 40 2025-12-31 5")
    assert line(created_at=None, state="failed").startswith("1702 web 40 ? 5")
    assert line(created_at=None, state="failed").endswith("; failed")
    assert line(vm_id=9, state="unknown", status="THAWING now").endswith('; unknown("THAWING now")')


def test_a_list_that_was_not_read_in_full_has_no_size() -> None:
    result = SnapshotList(snapshots=(FULL,), total=90_000, next_cursor="abc")
    assert text.render_snapshot_list(result).startswith("90000 snapshots; 1 here\n")


def test_an_empty_list_has_no_legend_and_no_cursor() -> None:
    snapshots = SnapshotList(snapshots=(), total=0, total_size=0, next_cursor="")
    assert text.render_snapshot_list(snapshots) == "0 snapshots, 0 GB"
    assert (
        text.render_vm_list(VirtualMachineList(virtual_machines=(), total=0, next_cursor=""))
        == "0 VMs"
    )


def test_unreadable_entries_are_counted() -> None:
    snapshots = SnapshotList(snapshots=(), total=0, total_size=0, next_cursor="", unreadable=2)
    vms = VirtualMachineList(virtual_machines=(), total=0, next_cursor="", unreadable=2)
    for rendered in (text.render_snapshot_list(snapshots), text.render_vm_list(vms)):
        assert "2 entries could not be read and are not counted." in rendered


def test_a_list_of_vms_has_a_head_a_legend_and_one_line_each() -> None:
    busy = VM.model_copy(update={"id": 6, "can_snapshot": False, "why_not": "it is busy"})
    result = VirtualMachineList(virtual_machines=(VM, busy), total=9, next_cursor="abc")
    assert text.render_vm_list(result) == (
        "9 VMs; 2 here\n"
        "id name status flavor region snapshot?\n"
        "5 box ACTIVE n1 NORWAY-1 yes\n"
        "6 box ACTIVE n1 NORWAY-1 no: it is busy\n"
        "next_cursor abc"
    )


def test_a_list_without_vm_names_has_no_line_for_them() -> None:
    result = SnapshotList(snapshots=(BARE,), total=1, total_size=0, next_cursor="")
    for line in text.render_snapshot_list(result).splitlines():
        assert not line.rstrip().endswith(":")


def test_an_unknown_status_is_shown_verbatim() -> None:
    unknown = FULL.model_copy(update={"state": "unknown", "status": "THAWING"})
    result = SnapshotList(snapshots=(unknown,), total=1, total_size=40, next_cursor="")
    assert "unknown(THAWING)" in text.render_snapshot_list(result)


def test_the_details_of_a_snapshot_show_every_known_fact() -> None:
    snapshot = Snapshot(
        id=1701,
        name="web",
        status="SUCCESS",
        vm_id=5,
        vm_name="box",
        vm_status="ACTIVE",
        size=40,
        created_at=TAKEN,
        updated_at=TAKEN,
        region="NORWAY-1",
        description="before",
        labels=("prod",),
        vm_flavor=Flavor(name="n3", cpu=24, ram=240.0, gpu="A100", gpu_count=2),
        vm_image=VmImage(name="Ubuntu"),
        vm_environment=Environment(name="default"),
        altered=("name",),
    )
    rendered = details(
        snapshot, age_days=2.5, newest_of_vm=True, derived_image='"golden" (id 9)', vm_gone=False
    )
    assert rendered.splitlines() == [
        'Snapshot 1701 "web": ready (status SUCCESS)',
        "size 40 GB, taken 2026-05-07 09:10 UTC (2.5 days ago)",
        "updated 2026-05-07 09:10 UTC, region NORWAY-1",
        'VM 5 "box", ACTIVE',
        'description "before"',
        'labels "prod"',
        "flavor n3: 24 vCPU, 240.0 GB RAM, 2 x A100",
        'system "Ubuntu"',
        'environment "default"',
        'derived image "golden" (id 9), deleted together with it',
        "It is the newest ready snapshot of its VM.",
        "Hidden, excess or unreadable text was removed from: name.",
    ]


def test_the_details_warn_about_the_last_snapshot_and_a_deleted_vm() -> None:
    snapshot = Snapshot(id=1, vm_status="DELETED", region_id=3)
    rendered = details(snapshot, last_ready_of_vm=True, newest_of_vm=True)
    assert "It is the last ready snapshot of its VM." in rendered
    assert "newest ready" not in rendered
    assert "Its VM is deleted: this data exists nowhere else." in rendered
    assert "region 3" in rendered


def test_the_result_of_a_creation_has_the_snapshot_and_the_next_step() -> None:
    done = CreateResult(outcome="created", snapshot=FULL, next_step="Rest.")
    first, last = text.render_create_result(done).splitlines()
    assert first.startswith("created: ")
    assert {"1701", '"web"', "ready"} <= set(first.replace(",", "").split())
    assert last == "Rest."
    assert (
        text.render_create_result(CreateResult(outcome="unknown", next_step="Look."))
        == "unknown\nLook."
    )


def test_a_plan_has_its_confirmation_words_and_its_token() -> None:
    plan = BlastRadius(
        action="Make a VM.",
        snapshot_id=1,
        name="web",
        state="ready",
        vm_id=5,
        vm_name="box",
        size=40,
        age_days=2.5,
        new_vm_name="new",
        flavor="n3",
        gpus="2 x A100",
        region="NORWAY-1",
        price_per_hour_estimate=2.7,
        warnings=("It is billed.",),
    )
    result = RestoreResult(
        outcome="confirmation_required",
        plan=plan,
        plan_token="t.o.k",  # noqa: S106 - a plan's token is no password
        confirm_with='say "yes"',
        expires_at=TAKEN,
        next_step="Ask.",
    )
    assert text.render_restore_result(result).splitlines() == [
        "confirmation_required",
        "Make a VM.",
        (
            'VM 5 "box", 40 GB, taken at ?, ready, flavor n3, GPUs "2 x A100",'
            " region NORWAY-1, about 2.7 USD per hour (an estimate)"
        ),
        "It is billed.",
        'The person agrees by giving the words "say \\"yes\\"".',
        "plan_token t.o.k (until 2026-05-07 09:10 UTC)",
        "Ask.",
    ]


def test_the_result_of_a_restore_has_the_new_vm() -> None:
    result = RestoreResult(outcome="restored", virtual_machine=VM, next_step="Done.")
    first, last = text.render_restore_result(result).splitlines()
    assert first.startswith("restored: ")
    assert {"5", '"box"', "ACTIVE"} <= set(first.split())
    assert last == "Done."


def test_the_result_of_a_deletion_names_the_snapshot() -> None:
    result = DeleteResult(outcome="deleted", snapshot_id=1701, next_step="Done.")
    assert text.render_delete_result(result) == "deleted: snapshot 1701\nDone."


EVERYTHING_MISSING = {
    "a list of snapshots": text.render_snapshot_list(
        SnapshotList(snapshots=(BARE,), total=1, total_size=0, next_cursor="")
    ),
    "a list of VMs": text.render_vm_list(
        VirtualMachineList(virtual_machines=(BARE_VM,), total=1, next_cursor="")
    ),
    "details": details(Snapshot(id=1)),
    "details of empty parts": details(
        Snapshot(
            id=1,
            vm_flavor=Flavor(),
            vm_image=VmImage(),
            vm_environment=Environment(),
            vm_keypair=Keypair(),
            custom_image=CustomImage(),
        )
    ),
    "details of GPUs without a model": details(Snapshot(id=1, vm_flavor=Flavor(gpu_count=2))),
    "details of features alone": details(Snapshot(id=1, vm_flavor=Flavor(features=Features()))),
    "a creation": text.render_create_result(
        CreateResult(outcome="created", snapshot=BARE, next_step="")
    ),
    "a restore": text.render_restore_result(
        RestoreResult(outcome="pending", virtual_machine=BARE_VM)
    ),
    "a plan of a restore": text.render_restore_result(
        RestoreResult(
            outcome="confirmation_required",
            plan=BARE_PLAN.model_copy(update={"new_vm_name": "new"}),
            plan_token="t",  # noqa: S106 - a plan's token is no password
        )
    ),
    "a plan of a deletion": text.render_delete_result(
        DeleteResult(
            outcome="confirmation_required",
            snapshot_id=1,
            plan=BARE_PLAN,
            plan_token="t",  # noqa: S106 - a plan's token is no password
        )
    ),
}


@pytest.mark.parametrize("case", EVERYTHING_MISSING)
def test_a_result_without_values_has_no_none_or_null(case: str) -> None:
    rendered = EVERYTHING_MISSING[case]
    assert rendered.strip()
    assert "None" not in rendered
    assert "null" not in rendered


def test_an_unknown_value_is_an_unquoted_question_mark() -> None:
    result = VirtualMachineList(virtual_machines=(BARE_VM,), total=1, next_cursor="")
    assert '"?"' not in text.render_vm_list(result)


names = st.text(st.characters(exclude_categories=["C", "Zl", "Zp"]), max_size=20)
states: st.SearchStrategy[SnapshotState] = st.sampled_from(
    ["ready", "pending", "failed", "unknown"]
)


@given(names, names, st.lists(names, max_size=2), states)
def test_a_line_of_a_snapshot_has_foreign_text_only_in_quotes(
    name: str, vm_name: str, labels: list[str], state: SnapshotState
) -> None:
    summary = SnapshotSummary(id=7, name=name, state=state, vm_name=vm_name, labels=tuple(labels))
    result = SnapshotList(snapshots=(summary,), total=1, total_size=0, next_cursor="")
    lines = text.render_snapshot_list(result).split("\n")
    assert lines[2].startswith(f"7 {quote_unless_word(name)} ? ? ?")
    state_text = {"ready": "", "unknown": '; unknown("")'}.get(state, f"; {state}")
    assert lines[2].endswith(",".join(map(quote_unless_word, labels)) + state_text)
    assert all(line.startswith("VMs: ") for line in lines[3:])
    assert len(lines) <= 4


@given(names, names, names, names)
def test_a_line_of_a_vm_has_foreign_text_only_in_its_columns(
    name: str, status: str, flavor: str, region: str
) -> None:
    vm = VirtualMachineSummary(
        id=7, name=name, status=status, flavor=flavor, region=region, can_snapshot=True
    )
    result = VirtualMachineList(virtual_machines=(vm,), total=1, next_cursor="")
    assert len(text.render_vm_list(result).split("\n")) == 3
    line = text.render_vm_list(result).split("\n")[2]
    unquoted = re.sub(r'"(?:[^"\\]|\\.)*"', "Q", line)
    assert re.fullmatch(r"7( [A-Za-z0-9][A-Za-z0-9._-]*| Q| \?){4} yes", unquoted)
