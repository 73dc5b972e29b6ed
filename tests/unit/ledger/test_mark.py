"""The high-water mark: a ledger that lost rows is detected, and no plan is used twice."""

import shutil
import sqlite3
import tempfile
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path

import anyio
import pytest
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from snapshot_mcp.core.errors import LedgerError, RefusedError
from snapshot_mcp.ledger.base import Ledger
from snapshot_mcp.ledger.chain import Attempt
from snapshot_mcp.ledger.mark import MARK_FILE, LockedMark
from snapshot_mcp.ledger.sqlite import open_sqlite_ledger
from snapshot_mcp.settings.environment import LEDGER_FILE
from snapshot_mcp.settings.signing_key import KEY_FILE, load_key
from tests.unit.ledger.ledger_kinds import NOW

LEDGER_FILES = (LEDGER_FILE, f"{LEDGER_FILE}-wal", f"{LEDGER_FILE}-shm")
LOST = "lost its last rows"


def open_ledger(folder: Path) -> Ledger:
    return open_sqlite_ledger(folder / LEDGER_FILE, lambda: NOW)


def plan(name: str) -> Attempt:
    return Attempt(name, "delete_snapshot", 1, {}, "local", "arguments", plan=name)


def remove(folder: Path) -> None:
    for name in LEDGER_FILES:
        (folder / name).unlink(missing_ok=True)


def empty(folder: Path) -> None:
    remove(folder)
    (folder / LEDGER_FILE).touch()


def roll_back(folder: Path) -> None:
    remove(folder)
    shutil.copy(folder / "copy", folder / LEDGER_FILE)


def replace(folder: Path) -> None:
    remove(folder)
    shutil.copy(folder / "other" / LEDGER_FILE, folder)


def remove_mark(folder: Path) -> None:
    (folder / MARK_FILE).unlink()
    roll_back(folder)


def empty_mark(folder: Path) -> None:
    (folder / MARK_FILE).write_bytes(b"")
    roll_back(folder)


LOSSES = [remove, empty, roll_back, replace, remove_mark, empty_mark]


async def prepare(folder: Path) -> None:
    """Make two plans, copy the ledger, and use one of the plans; make another ledger."""
    await open_ledger(folder / "other").record("planned", plan("used"))
    ledger = open_ledger(folder)
    await ledger.record("planned", plan("used"))
    await ledger.record("planned", plan("open"))
    shutil.copy(folder / LEDGER_FILE, folder / "copy")
    await ledger.record("sent", plan("used"))
    await ledger.record("done", plan("used"))
    assert await ledger.verify() == []


@pytest.mark.parametrize("lose", LOSSES)
async def test_no_plan_is_accepted_after_rows_were_lost_and_the_loss_is_reported(
    tmp_path: Path, lose: Callable[[Path], None]
) -> None:
    await prepare(tmp_path)
    lose(tmp_path)
    assert await open_ledger(tmp_path).verify() != []
    for name in ("used", "open"):
        with pytest.raises(RefusedError, match=f"{LOST}|record of this plan is missing"):
            await open_ledger(tmp_path).check_plan(name)
        with pytest.raises(RefusedError, match=f"{LOST}|record of this plan is missing"):
            await open_ledger(tmp_path).record("sent", plan(name))
    with pytest.raises(RefusedError, match=LOST):
        await open_ledger(tmp_path).record("planned", plan("new"))
    await open_ledger(tmp_path).record("sent", plan("create")._replace(plan=""))
    assert await open_ledger(tmp_path).verify() != []


@pytest.mark.parametrize("lose", LOSSES)
async def test_after_an_acknowledged_loss_new_plans_work_and_earlier_ones_do_not(
    tmp_path: Path, lose: Callable[[Path], None]
) -> None:
    await prepare(tmp_path)
    lose(tmp_path)
    await open_ledger(tmp_path).acknowledge_loss("seen by the operator")
    ledger = open_ledger(tmp_path)
    report = await ledger.inspect()
    assert report.problems == []
    assert [row.reason for row in report.losses] == ["seen by the operator"]
    for name in ("used", "open"):
        with pytest.raises(RefusedError, match="record of this plan is missing"):
            await ledger.check_plan(name)
        with pytest.raises(RefusedError, match="record of this plan is missing"):
            await ledger.record("sent", plan(name))
    await ledger.record("planned", plan("new"))
    await ledger.record("sent", plan("new"))
    assert await ledger.verify() == []


async def test_no_plan_is_accepted_if_a_later_row_was_removed(tmp_path: Path) -> None:
    await prepare(tmp_path)
    with closing(sqlite3.connect(tmp_path / LEDGER_FILE)) as connection, connection:
        connection.execute("DROP TRIGGER attempts_are_not_deleted")
        connection.execute("DELETE FROM attempts WHERE event = 'sent'")
    for name in ("used", "open"):
        with pytest.raises(RefusedError, match="record of this plan is missing"):
            await open_ledger(tmp_path).check_plan(name)
        with pytest.raises(RefusedError, match="record of this plan is missing"):
            await open_ledger(tmp_path).record("sent", plan(name))


async def test_a_running_process_notices_a_folder_that_was_put_back_as_a_whole(
    tmp_path: Path,
) -> None:
    ledger = open_ledger(tmp_path / "data")
    await ledger.record("planned", plan("used"))
    shutil.copytree(tmp_path / "data", tmp_path / "backup")
    await ledger.record("sent", plan("used"))
    shutil.rmtree(tmp_path / "data")
    shutil.copytree(tmp_path / "backup", tmp_path / "data")
    with pytest.raises(RefusedError, match=LOST):
        await ledger.check_plan("used")
    await open_ledger(tmp_path / "data").acknowledge_loss("restored from the backup")
    await ledger.record("planned", plan("new"))
    await ledger.record("sent", plan("new"))


async def test_a_ledger_of_an_earlier_version_gets_its_mark_with_the_first_row(
    tmp_path: Path,
) -> None:
    await prepare(tmp_path)
    (tmp_path / MARK_FILE).unlink()
    with closing(sqlite3.connect(tmp_path / LEDGER_FILE)) as connection, connection:
        connection.execute("PRAGMA application_id = 0")
        connection.execute("DROP TRIGGER attempts_are_not_updated")
        connection.execute("UPDATE attempts SET mac = ''")
        connection.execute(
            """CREATE TRIGGER attempts_are_not_updated BEFORE UPDATE ON attempts
    BEGIN SELECT RAISE(ABORT, 'the ledger is append-only'); END"""
        )
    assert await open_ledger(tmp_path).verify() == []
    with pytest.raises(RefusedError, match="record of this plan is missing"):
        await open_ledger(tmp_path).check_plan("open")
    await open_ledger(tmp_path).record("planned", plan("later"))
    shutil.copy(tmp_path / LEDGER_FILE, tmp_path / "copy")
    await open_ledger(tmp_path).record("sent", plan("later"))
    assert await open_ledger(tmp_path).verify() == []
    roll_back(tmp_path)
    with pytest.raises(RefusedError, match=LOST):
        await open_ledger(tmp_path).check_plan("later")


@pytest.mark.parametrize("appends", [0, 1])
async def test_a_crash_between_the_row_and_its_mark_is_not_a_loss(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, appends: int
) -> None:
    def crash(*_: object) -> None:
        raise MemoryError

    for number in range(appends):
        await open_ledger(tmp_path).record("planned", plan(f"earlier-{number}"))
    with monkeypatch.context() as patch:
        patch.setattr(LockedMark, "move", crash)
        with pytest.raises(MemoryError):
            await open_ledger(tmp_path).record("planned", plan("open"))
    assert [row.attempt for row in await open_ledger(tmp_path).rows()][-1] == "open"
    assert await open_ledger(tmp_path).verify() == []
    await open_ledger(tmp_path).record("sent", plan("open"))
    assert await open_ledger(tmp_path).verify() == []


async def test_a_damaged_mark_is_reported_and_can_be_removed(tmp_path: Path) -> None:
    await prepare(tmp_path)
    (tmp_path / MARK_FILE).write_bytes(b"not a database" * 1000)
    for call in (
        lambda: open_ledger(tmp_path).record("sent", plan("open")),
        open_ledger(tmp_path).verify,
    ):
        with pytest.raises(LedgerError, match=f"{MARK_FILE} beside the ledger is damaged"):
            await call()
    (tmp_path / MARK_FILE).unlink()
    await open_ledger(tmp_path).acknowledge_loss("the mark was damaged")
    assert await open_ledger(tmp_path).verify() == []


async def test_a_ledger_without_rows_is_missing_only_if_something_shows_its_use(
    tmp_path: Path,
) -> None:
    assert await open_ledger(tmp_path).inspect() == ([], False, [], [])
    assert await open_ledger(tmp_path).rows() == []
    assert await open_ledger(tmp_path).inspect() == ([], False, [], [])
    load_key(tmp_path)
    for _ in range(2):
        (problem,) = await open_ledger(tmp_path).verify()
        assert "missing or was emptied" in problem
        assert KEY_FILE in problem
        remove(tmp_path)


class LostLedgers(RuleBasedStateMachine):
    """Processes that plan and commit, while the ledger's files are removed and put back."""

    def __init__(self) -> None:
        super().__init__()
        self.temporary = tempfile.TemporaryDirectory()
        self.folder = Path(self.temporary.name)
        self.plans: list[str] = []
        self.sent: list[str] = []
        self.copies: list[bytes] = []
        self.ledger = open_ledger(self.folder)

    @rule()
    def make_plan(self) -> None:
        name = f"plan-{len(self.plans)}"
        with suppress(RefusedError):
            anyio.run(self.ledger.record, "planned", plan(name))
            self.plans.append(name)

    @rule(number=st.integers(0, 9))
    def use_plan(self, number: int) -> None:
        if self.plans:
            name = self.plans[number % len(self.plans)]
            with suppress(RefusedError):
                anyio.run(self.ledger.record, "sent", plan(name))
                self.sent.append(name)

    @rule()
    def refuse(self) -> None:
        anyio.run(self.ledger.record, "refused", plan("x"))

    @rule()
    def refuse_in_another_process(self) -> None:
        anyio.run(open_ledger(self.folder).record, "refused", plan("x"))

    @rule()
    def copy(self) -> None:
        if (self.folder / LEDGER_FILE).exists():
            self.copies.append((self.folder / LEDGER_FILE).read_bytes())

    @rule(number=st.integers(0, 9))
    def put_back(self, number: int) -> None:
        if self.copies:
            remove(self.folder)
            (self.folder / LEDGER_FILE).write_bytes(self.copies[number % len(self.copies)])

    @rule()
    def remove_ledger(self) -> None:
        remove(self.folder)

    @rule()
    def empty_ledger(self) -> None:
        empty(self.folder)

    @rule()
    def remove_mark(self) -> None:
        (self.folder / MARK_FILE).unlink(missing_ok=True)

    @rule()
    def empty_mark(self) -> None:
        (self.folder / MARK_FILE).write_bytes(b"")

    @rule()
    def restart(self) -> None:
        self.ledger.close()
        self.ledger = open_ledger(self.folder)

    @rule()
    def acknowledge(self) -> None:
        anyio.run(self.ledger.acknowledge_loss, "lost")

    @invariant()
    def no_plan_is_used_twice(self) -> None:
        assert len(set(self.sent)) == len(self.sent)

    def teardown(self) -> None:
        self.ledger.close()
        self.temporary.cleanup()


TestLostLedgers = LostLedgers.TestCase
TestLostLedgers.settings = hypothesis_settings(max_examples=12, stateful_step_count=15)
