"""Ctrl-C and SIGTERM while a change is made: the command says what was done and what is open."""

import json
import re
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import anyio
import pytest

from snapshot_mcp.cli import exit_codes
from snapshot_mcp.ledger.chain import Row
from snapshot_mcp.ledger.sqlite import open_sqlite_ledger
from snapshot_mcp.settings.environment import LEDGER_FILE
from tests.conftest import ManualClock
from tests.processes.conftest import Command
from tests.processes.helpers import environment
from tests.waiting import START_TIMEOUT_SECONDS, until

if sys.platform == "win32":
    pytest.skip("Windows has no pseudo-terminals like these", allow_module_level=True)

from tests.processes.pseudo_terminal import CTRL_C, PseudoTerminal, at_terminal

MISBEHAVIOUR = "SNAPSHOT_MCP_EMBEDDED_MISBEHAVIOUR"
CHECK = "`snapshot-mcp ledger` shows each request and its result."
RESTORED_NAME = "back-again"
Interruption = Callable[[PseudoTerminal], None]


def press(terminal: PseudoTerminal) -> None:
    terminal.type(CTRL_C)


def send_sigterm(terminal: PseudoTerminal) -> None:
    terminal.process.send_signal(signal.SIGTERM)


def call_json(command: Command, folder: Path, *words: str) -> dict[str, Any]:
    result = command("call", *words, "--json", env=environment(folder))
    assert result.stdout, result.stderr
    return json.loads(result.stdout)


def read_rows(folder: Path) -> list[Row]:
    if not (folder / LEDGER_FILE).exists():
        return []
    return anyio.run(open_sqlite_ledger(folder / LEDGER_FILE, ManualClock().now).rows)


def wait_for_rows(folder: Path, tool: str, event: str, number: int = 1) -> None:
    def has_rows() -> bool:
        rows = read_rows(folder)
        return sum((row.tool, row.event) == (tool, event) for row in rows) >= number

    until(has_rows, f"{number} rows {event} of {tool}", START_TIMEOUT_SECONDS)


def answer_question(terminal: PseudoTerminal, words: str) -> None:
    terminal.read_until("To agree, type exactly")
    terminal.read_until("> ")
    terminal.type(f"{words}\n")


def end_interrupted(terminal: PseudoTerminal) -> str:
    """Wait for the end, and return the report, which follows all other output."""
    assert terminal.end() == exit_codes.INTERRUPTED, terminal.shown
    assert "Traceback" not in terminal.shown
    _, separator, report = terminal.shown.rpartition("Interrupted.")
    assert separator, terminal.shown
    assert "of 2" not in report
    return report


def calls(command: Command, folder: Path) -> dict[str, tuple[Sequence[str], str]]:
    """Return the words of each call that changes one thing, and the words that confirm it."""
    snapshot = call_json(command, folder, "list_snapshots", "state=ready", "limit=1")["snapshots"][
        0
    ]
    vms = call_json(command, folder, "list_virtual_machines", "limit=50")["virtual_machines"]
    vm = next(vm["id"] for vm in vms if vm["can_snapshot"])
    target = f"snapshot_id={snapshot['id']}"
    return {
        "create_snapshot": ((f"vm_id={vm}", "name=before", "allow_interruption=true"), ""),
        "create_image_from_snapshot": ((target, "name=base-image"), ""),
        "delete_snapshot": ((target,), snapshot["name"]),
        "restore_snapshot": ((target, f"new_vm_name={RESTORED_NAME}"), snapshot["name"]),
    }


@pytest.mark.parametrize(
    ("tool", "interrupt"),
    [
        ("create_snapshot", press),
        pytest.param("create_snapshot", send_sigterm, marks=pytest.mark.slow),
        pytest.param("create_image_from_snapshot", press, marks=pytest.mark.slow),
        pytest.param("delete_snapshot", press, marks=pytest.mark.slow),
        pytest.param("restore_snapshot", press, marks=pytest.mark.slow),
    ],
)
def test_an_interrupted_write_is_completed_and_reported(
    command: Command, tmp_path: Path, tool: str, interrupt: Interruption
) -> None:
    words, confirmation = calls(command, tmp_path)[tool]
    slow = {MISBEHAVIOUR: "slow-writes=1"}
    with at_terminal(tmp_path, "call", tool, *words, **slow) as terminal:
        if confirmation:
            answer_question(terminal, confirmation)
        wait_for_rows(tmp_path, tool, "sent")
        interrupt(terminal)
        report = end_interrupted(terminal)
    last = read_rows(tmp_path)[-1]
    assert (last.tool, last.event) == (tool, "done")
    created = json.loads(last.arguments).get("result_id")
    assert f"Done: {tool} {last.target}" in report
    assert (created is None) == (tool == "delete_snapshot")
    assert created is None or f"(new id {created})" in report
    assert "What the cloud accepted continues there." in report
    assert CHECK in report
    assert "Nothing was changed" not in report


@pytest.mark.slow
def test_a_second_interruption_leaves_the_request_open(command: Command, tmp_path: Path) -> None:
    words, _ = calls(command, tmp_path)["create_snapshot"]
    slow = {MISBEHAVIOUR: "slow-writes=8"}
    with at_terminal(tmp_path, "call", "create_snapshot", *words, **slow) as terminal:
        wait_for_rows(tmp_path, "create_snapshot", "sent")
        press(terminal)
        terminal.read_until("To stop now, press Ctrl-C again")
        press(terminal)
        report = end_interrupted(terminal)
    assert [row.event for row in read_rows(tmp_path) if row.event != "refused"] == ["sent"]
    assert "Result not known yet: create_snapshot" in report
    assert "The next command of snapshot-mcp looks for its effect and records it." in report
    assert "Done" not in report
    assert CHECK in report


@pytest.mark.slow
def test_an_interrupted_batch_reports_exactly_what_was_deleted(
    command: Command, tmp_path: Path
) -> None:
    plan = call_json(command, tmp_path, "plan_retention", "keep_last=1")
    commit = (f"plan_token={plan['plan_token']}", f"confirm={plan['confirm_with']}")
    slow = {MISBEHAVIOUR: "slow-writes=0.3"}
    with at_terminal(tmp_path, "call", "apply_retention", *commit, **slow) as terminal:
        answer_question(terminal, plan["confirm_with"])
        wait_for_rows(tmp_path, "delete_snapshot", "sent", 3)
        press(terminal)
        report = end_interrupted(terminal)
    rows = read_rows(tmp_path)
    deleted = [row.target for row in rows if (row.tool, row.event) == ("delete_snapshot", "done")]
    sent = [row.target for row in rows if (row.tool, row.event) == ("delete_snapshot", "sent")]
    assert deleted == sent  # the deletion under way was completed
    assert len(deleted) >= 3
    line = re.search(r"Done: (.*?)\.\s", report, re.DOTALL)
    assert line
    assert [int(number) for number in re.findall(r"delete_snapshot\s+(\d+)", line[1])] == deleted
    reason = rows[-1].reason.removeprefix("interrupted; ")
    assert reason.startswith(f"{len(deleted)} deleted")
    assert f"The batch: {reason}." in " ".join(report.split())
    for target in deleted:
        shown = command(
            "call", "inspect_snapshot", f"snapshot_id={target}", env=environment(tmp_path)
        )
        assert shown.returncode == 1 or "deleting" in shown.stdout


@pytest.mark.slow
def test_an_interruption_before_any_request_says_that_nothing_was_changed(
    command: Command, tmp_path: Path
) -> None:
    words, _ = calls(command, tmp_path)["delete_snapshot"]
    with at_terminal(tmp_path, "call", "delete_snapshot", *words) as terminal:
        terminal.read_until("embedded cloud is used")
        press(terminal)
        assert end_interrupted(terminal).strip() == "Nothing was changed."
