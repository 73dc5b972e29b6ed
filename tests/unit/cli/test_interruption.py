"""The report about an interrupted call, from the rows of a real ledger."""

from datetime import timedelta
from pathlib import Path

import pytest

from snapshot_mcp.cli.interruption import describe_interruption
from snapshot_mcp.core.clock import utc_now
from snapshot_mcp.ledger.chain import Attempt, Event
from snapshot_mcp.ledger.sqlite import open_sqlite_ledger
from snapshot_mcp.settings.environment import LEDGER_FILE, Settings

CLIENT = "snapshot-mcp call"
SINCE = utc_now() - timedelta(minutes=1)


async def report(folder: Path, *rows: tuple[Event, Attempt, str]) -> str:
    ledger = open_sqlite_ledger(folder / LEDGER_FILE, utc_now)
    for event, attempt, reason in rows:
        await ledger.record(event, attempt, reason)
    return await describe_interruption(Settings(data_dir=folder), CLIENT, SINCE)


def attempt_of(
    target: int, tool: str = "delete_snapshot", client: str = CLIENT, **arguments: int
) -> Attempt:
    return Attempt(f"{tool}.{target}", tool, target, arguments, "local", "arguments", client)


async def test_without_a_ledger_nothing_was_changed(tmp_path: Path) -> None:
    text = await describe_interruption(Settings(data_dir=tmp_path), CLIENT, SINCE)
    assert text == "Interrupted. Nothing was changed."
    assert not (tmp_path / LEDGER_FILE).exists()


async def test_changes_of_other_clients_are_not_reported(tmp_path: Path) -> None:
    other = attempt_of(1, client="another")
    text = await report(tmp_path, ("sent", other, ""), ("done", other, ""))
    assert text == "Interrupted. Nothing was changed."


async def test_each_result_is_reported_once(tmp_path: Path) -> None:
    done, failed, unknown, still_open = map(attempt_of, range(1, 5))
    created = attempt_of(9, "create_snapshot")
    attempts = (done, failed, unknown, still_open, created)
    sent: list[tuple[Event, Attempt, str]] = [("sent", attempt, "") for attempt in attempts]
    text = await report(
        tmp_path,
        *sent,
        ("done", done, ""),
        ("failed", failed, "the cloud refused"),
        ("unknown", unknown, ""),
        ("done", created._replace(arguments={"result_id": 1731}), ""),
    )
    lines = text.splitlines()
    assert lines[0] == "Interrupted."
    assert "Done: delete_snapshot 1, create_snapshot 9 (new id 1731)." in lines
    assert "Not done: delete_snapshot 2." in lines
    assert "Result unknown: delete_snapshot 3." in lines
    assert "Result not known yet: delete_snapshot 4." in lines
    assert any("continues there" in line for line in lines)
    assert any("looks for its effect" in line for line in lines)
    assert "`snapshot-mcp ledger`" in lines[-1]


@pytest.mark.parametrize("accepted", [True, False])
async def test_only_a_change_that_the_cloud_accepted_continues(
    tmp_path: Path,
    accepted: bool,  # noqa: FBT001 - a parameter of the test
) -> None:
    attempt = attempt_of(1)
    end: Event = "done" if accepted else "failed"
    text = await report(tmp_path, ("sent", attempt, ""), (end, attempt, ""))
    assert ("continues there" in text) is accepted
    assert "looks for its effect" not in text


async def test_a_batch_is_reported_with_its_counts(tmp_path: Path) -> None:
    batch = attempt_of(0, "apply_retention")
    deletion = attempt_of(1)._replace(id=f"{batch.id}.1", arguments={})
    text = await report(
        tmp_path,
        ("sent", batch, ""),
        ("sent", deletion, ""),
        ("done", deletion, ""),
        ("failed", batch, "interrupted; 1 deleted, 21 not attempted"),
    )
    assert "The batch: 1 deleted, 21 not attempted." in text.splitlines()
    assert "Done: delete_snapshot 1." in text.splitlines()


async def test_a_ledger_that_cannot_be_read_is_no_statement_about_changes(tmp_path: Path) -> None:
    (tmp_path / LEDGER_FILE).write_bytes(b"not a database" * 1_000)
    text = await describe_interruption(Settings(data_dir=tmp_path), CLIENT, SINCE)
    assert text.startswith("Interrupted. Requests may have been sent, but")
    assert "Nothing was changed" not in text.split("but", 1)[0]
