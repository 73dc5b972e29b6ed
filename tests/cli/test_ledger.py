"""`snapshot-mcp ledger`: the recorded attempts on the command line."""

import json
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from subprocess import CompletedProcess

import pytest

from snapshot_mcp.settings.environment import LEDGER_FILE
from tests.processes.conftest import Command
from tests.processes.helpers import environment

Ledger = Callable[..., CompletedProcess[str]]


@pytest.fixture
def ledger(command: Command, tmp_path: Path) -> Ledger:
    """The command, on a ledger with one planned deletion and one refused one."""
    env = environment(tmp_path)
    listed = command("call", "list_snapshots", "state=ready", "limit=1", "--json", env=env)
    snapshot_id = json.loads(listed.stdout)["snapshots"][0]["id"]
    target = f"snapshot_id={snapshot_id}"
    assert command("call", "delete_snapshot", target, env=env).returncode == 3
    refused = command("call", "delete_snapshot", target, "confirm=yes", env=env)
    assert refused.returncode == 1
    return lambda *words: command("ledger", *words, env=env)


def test_rows_are_printed_as_text_and_as_json(ledger: Ledger) -> None:
    shown, as_json = ledger(), ledger("--json")
    assert (shown.returncode, as_json.returncode) == (0, 0)
    events = [json.loads(line)["event"] for line in as_json.stdout.splitlines()]
    assert sorted(events) == ["planned", "refused"]
    assert len(shown.stdout.splitlines()) == len(events)
    assert all(event in shown.stdout for event in events)


def test_options_select_the_rows(ledger: Ledger) -> None:
    planned = ledger("--event", "planned", "--json").stdout.splitlines()
    assert [json.loads(line)["event"] for line in planned] == ["planned"]
    assert ledger("--tool", "restore_snapshot").stdout == ""
    assert len(ledger("--limit", "1").stdout.splitlines()) == 1


def test_an_intact_ledger_is_verified(ledger: Ledger) -> None:
    verified = ledger("verify")
    assert (verified.returncode, verified.stdout) == (0, "The ledger is intact.\n")


def test_an_altered_row_is_reported_with_exit_code_1(ledger: Ledger, tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / LEDGER_FILE)) as database, database:
        for (trigger,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'"):
            database.execute(f"DROP TRIGGER {trigger}")
        database.execute("UPDATE attempts SET reason = 'altered' WHERE event = 'refused'")
    verified = ledger("verify")
    assert verified.returncode == 1
    assert "intact" not in verified.stdout


def test_a_removed_ledger_is_reported_until_the_operator_acknowledges_it(
    ledger: Ledger, command: Command, tmp_path: Path
) -> None:
    env = environment(tmp_path)
    for file in tmp_path.glob(f"{LEDGER_FILE}*"):
        file.unlink()
    verified = ledger("verify")
    assert verified.returncode == 1
    assert "The ledger is missing or was emptied" in verified.stdout
    doctor = command("doctor", "--json", env=env)
    assert doctor.returncode == 1
    assert "missing or was emptied" in doctor.stdout
    plan = ("call", "delete_snapshot", "snapshot_id=1730")
    refused = command(*plan, env=env)
    assert refused.returncode == 1
    assert "snapshot-mcp ledger acknowledge" in refused.stderr
    assert ledger("verify").returncode == 1
    acknowledged = ledger("acknowledge")
    assert acknowledged.returncode == 0
    assert "Earlier plans stay invalid" in acknowledged.stdout
    assert "Nothing is missing" in ledger("acknowledge").stdout
    assert command(*plan, env=env).returncode == 3
    verified = ledger("verify")
    assert verified.returncode == 0
    assert "Acknowledged at" in verified.stdout
    assert "emptied or replaced by an older copy" in verified.stdout
    assert "intact; acknowledged at" in command("doctor", env=env).stdout


def test_a_ledger_that_does_not_exist_yet_is_not_called_intact(
    command: Command, tmp_path: Path
) -> None:
    env = environment(tmp_path / "new")
    for _ in range(2):
        verified = command("ledger", "verify", env=env)
        assert (verified.returncode, verified.stderr) == (0, "")
        assert verified.stdout == "There is no ledger yet: the first change creates it.\n"
        command("call", "list_snapshots", env=env)
