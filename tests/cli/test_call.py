"""`snapshot-mcp call`: tools on the command line, with the same consent as for any client."""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anyio
import pytest

from snapshot_mcp.ledger.chain import Row
from snapshot_mcp.ledger.sqlite import open_sqlite_ledger
from snapshot_mcp.settings.environment import LEDGER_FILE
from tests.conftest import ManualClock
from tests.processes.conftest import Command
from tests.processes.helpers import Upstream, environment
from tests.waiting import START_TIMEOUT_SECONDS

NOTE = "There is no API key, so the embedded cloud is used.\n"
Call = Callable[..., Any]


@pytest.fixture
def call(command: Command, tmp_path: Path) -> Call:
    return lambda *words: command("call", *words, env=environment(tmp_path))


def call_json(call: Call, *words: str) -> dict[str, Any]:
    """Call a tool that must succeed, and return its structured content."""
    ended = call(*words, "--json")
    assert (ended.returncode, ended.stderr) == (0, NOTE)
    return json.loads(ended.stdout)


def ledger_rows(folder: Path) -> list[Row]:
    return anyio.run(open_sqlite_ledger(folder / LEDGER_FILE, ManualClock().now).rows)


def test_a_list_is_printed_as_a_table_or_as_json(call: Call) -> None:
    shown = call("list_snapshots", "limit=2", "order=largest")
    content = call_json(call, "list_snapshots", "limit=2", "order=largest")
    assert (shown.returncode, shown.stderr) == (0, NOTE)
    assert len(content["snapshots"]) == 2
    for snapshot in content["snapshots"]:
        assert f"{snapshot['id']}" in shown.stdout
        assert f"{snapshot['size']} GB" in shown.stdout


def test_key_value_words_become_arguments_of_the_tool(call: Call) -> None:
    vm = call_json(call, "list_virtual_machines", "search=training-box")["virtual_machines"][0]
    words = (f"vm_id={vm['id']}", "name=before-upgrade", "labels=a,b", "allow_interruption=yes")
    created = call_json(call, "create_snapshot", *words, "wait_seconds=0")
    assert created["outcome"] == "pending"
    assert created["snapshot"]["labels"] == ["a", "b"]


def test_a_refusal_is_printed_on_stderr_with_exit_code_1(call: Call) -> None:
    ended = call("inspect_snapshot", "snapshot_id=999")
    assert (ended.returncode, ended.stdout) == (1, "")
    assert "The cloud has no snapshot 999" in ended.stderr


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["nonsense"], "The tools are: list_snapshots"),
        (["list_snapshots", "limit=x"], "limit must be a whole number"),
        (["inspect_snapshot"], "needs snapshot_id"),
    ],
)
def test_bad_arguments_end_with_exit_code_2(call: Call, words: list[str], message: str) -> None:
    ended = call(*words)
    assert (ended.returncode, ended.stdout) == (2, "")
    assert message in ended.stderr
    assert "Traceback" not in ended.stderr


def test_without_a_terminal_a_plan_is_printed_and_nothing_is_deleted(
    call: Call, tmp_path: Path
) -> None:
    snapshot = call_json(call, "list_snapshots", "state=ready")["snapshots"][0]
    target = f"snapshot_id={snapshot['id']}"
    ended = call("delete_snapshot", target)
    assert ended.returncode == 3
    assert "at a terminal" in ended.stderr
    assert "permanently" in ended.stdout
    plan = json.loads(call("delete_snapshot", target, "--json").stdout)
    commit = (f"plan_token={plan['plan_token']}", f"confirm={plan['confirm_with']}")
    refused = call("delete_snapshot", target, *commit)
    assert (refused.returncode, refused.stdout) == (3, "")
    assert_no_one_was_asked(refused.stderr, ledger_rows(tmp_path))


def assert_no_one_was_asked(text: str, rows: list[Row]) -> None:
    assert "No one could be asked" in text
    assert "declined" not in text
    assert {row.event for row in rows} == {"planned", "refused"}
    assert {row.evidence for row in rows} == {"arguments"}
    assert all("No one could be asked" in row.reason for row in rows if row.event == "refused")


def test_without_a_terminal_a_retention_plan_is_not_applied(call: Call, tmp_path: Path) -> None:
    plan = json.loads(call("plan_retention", "keep_last=1", "--json").stdout)
    commit = (f"plan_token={plan['plan_token']}", f"confirm={plan['confirm_with']}")
    refused = call("apply_retention", *commit)
    assert (refused.returncode, refused.stdout) == (3, "")
    assert_no_one_was_asked(refused.stderr, ledger_rows(tmp_path))


def test_a_retention_plan_is_printed_with_the_command_that_applies_it(call: Call) -> None:
    ended = call("plan_retention", "keep_last=1")
    assert ended.returncode == 0
    (line,) = [
        line for line in ended.stdout.splitlines() if line.startswith("To apply this plan: ")
    ]
    assert line.split()[4:7] == ["snapshot-mcp", "call", "apply_retention"]
    assert "'confirm=delete " in line


def test_an_unreachable_cloud_is_a_failure(command: Command, tmp_path: Path) -> None:
    unreachable = environment(tmp_path, **Upstream(tmp_path / "cloud.db").settings)
    ended = command("call", "list_snapshots", env=unreachable)
    assert (ended.returncode, ended.stdout) == (1, "")
    assert "could not be reached" in ended.stderr
    assert NOTE not in ended.stderr


if sys.platform != "win32":
    from tests.processes.pseudo_terminal import CTRL_C, CTRL_D, at_terminal

    def call_at_terminal(folder: Path, keys: str, *words: str) -> tuple[int, str]:
        """Type `keys` when asked to confirm; return the exit code and the output."""
        with at_terminal(folder, "call", *words) as terminal:
            terminal.read_until("\n> ")
            terminal.type(keys)
            return terminal.end(), terminal.shown

    def ready_snapshot(call: Call) -> tuple[str, str]:
        """Return the argument that selects a ready snapshot, and the snapshot's name."""
        snapshot = call_json(call, "list_snapshots", "state=ready")["snapshots"][0]
        return f"snapshot_id={snapshot['id']}", snapshot["name"]

    @pytest.mark.usefixtures("measured")
    def test_a_person_at_the_terminal_is_asked_to_confirm(call: Call, tmp_path: Path) -> None:
        snapshot, name = ready_snapshot(call)
        code, shown = call_at_terminal(tmp_path, f"{name}\n", "delete_snapshot", snapshot)
        assert code == 0, shown
        assert "To agree, type exactly" in shown
        assert "deleted" in shown
        done = [row for row in ledger_rows(tmp_path) if row.event == "done"]
        assert [(row.evidence, row.client.partition(" ")[0]) for row in done] == [
            ("person", "snapshot-mcp")
        ]

    @pytest.mark.parametrize(
        ("keys", "code"),
        [
            pytest.param("no\n", 1, id="other words"),
            pytest.param(CTRL_D, 3, id="end of input", marks=pytest.mark.slow),
            pytest.param(CTRL_C, 3, id="ctrl-c", marks=pytest.mark.slow),
        ],
    )
    def test_without_the_confirmation_words_the_snapshot_is_kept(
        call: Call, keys: str, code: int, tmp_path: Path
    ) -> None:
        snapshot, _ = ready_snapshot(call)
        ended, shown = call_at_terminal(tmp_path, keys, "delete_snapshot", snapshot)
        assert ended == code, shown
        assert "Traceback" not in shown
        assert {row.event for row in ledger_rows(tmp_path)} == {"planned", "asked", "refused"}

    @pytest.mark.usefixtures("measured")
    def test_a_progress_bar_is_shown_during_a_long_call(call: Call, tmp_path: Path) -> None:
        vm = call_json(call, "list_virtual_machines", "search=training-box")["virtual_machines"][0]
        words = (f"vm_id={vm['id']}", "name=a", "allow_interruption=true", "wait_seconds=1")
        with at_terminal(tmp_path, "call", "create_snapshot", *words) as terminal:
            code, shown = terminal.end(START_TIMEOUT_SECONDS), terminal.shown
        assert code == 0, shown
        assert "0:00:0" in shown  # the elapsed time
        assert "pending" in shown
