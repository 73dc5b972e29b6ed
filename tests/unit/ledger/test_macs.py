"""Attacks by someone who can write the ledger's files, but does not have the signing key."""

import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import anyio
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from pydantic import SecretBytes

from snapshot_mcp.core.errors import LedgerError, RefusedError
from snapshot_mcp.ledger.base import Ledger
from snapshot_mcp.ledger.chain import (
    FIRST_PREVIOUS_HASH,
    Attempt,
    Row,
    compute_hash,
    link_row,
    make_row,
)
from snapshot_mcp.ledger.macs import LedgerMacs
from snapshot_mcp.ledger.mark import MARK_FILE, Mark, MarkFile
from snapshot_mcp.ledger.sqlite import open_sqlite_ledger
from snapshot_mcp.ledger.store import ChainSnapshot
from snapshot_mcp.ledger.verification import verify_snapshot
from snapshot_mcp.settings.environment import LEDGER_FILE
from snapshot_mcp.settings.signing_key import KEY_FILE, SigningKey
from tests.unit.ledger.ledger_kinds import NOW
from tests.unit.ledger.test_chain import open_for_tampering

ROWS = 6
INSERT = f"INSERT INTO attempts VALUES ({', '.join('?' * len(Row._fields))})"  # noqa: S608 - question marks
KEY, OTHER_KEY = b"k" * 32, b"o" * 32
SAMPLE = make_row("planned", Attempt("a", "tool", 1, {}, "local", ""), "", NOW, "")
Change = Callable[[list[Row]], list[Row]]


def open_ledger(folder: Path, key: bytes | None = KEY) -> Ledger:
    """Open a ledger whose key is elsewhere; without one, as on a machine that does not have it."""
    source = SigningKey(SecretBytes(key) if key else None, folder)
    return open_sqlite_ledger(folder / LEDGER_FILE, lambda: NOW, source)


def plan(name: str) -> Attempt:
    return Attempt(name, "delete_snapshot", 1, {}, "local", "arguments", plan=name)


async def fill(folder: Path, key: bytes = KEY, *, rows: int = ROWS, first: int = 0) -> None:
    ledger = open_ledger(folder, key)
    for number in range(first, first + rows):
        await ledger.record("planned", plan(f"plan-{number}"))
    ledger.close()


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A ledger that is whole; tests alter copies of it."""
    folder = tmp_path_factory.mktemp("filled")
    anyio.run(fill, folder)
    assert anyio.run(open_ledger(folder).verify) == []
    return folder


@pytest.fixture
def folder(filled: Path, tmp_path: Path) -> Path:
    """A copy of the ledger."""
    return shutil.copytree(filled, tmp_path / "copy")


def read_rows(folder: Path) -> list[Row]:
    with closing(sqlite3.connect(folder / LEDGER_FILE)) as connection:
        return [Row(*row) for row in connection.execute("SELECT * FROM attempts ORDER BY id")]


def rechain(rows: list[Row]) -> list[Row]:
    """Number and link rows so that the hash chain is whole."""
    linked: list[Row] = []
    previous = FIRST_PREVIOUS_HASH
    for number, row in enumerate(rows, 1):
        linked.append(link_row(row, number, previous))
        previous = linked[-1].hash
    return linked


def write_rows(folder: Path, rows: list[Row]) -> None:
    """Replace the table, set the row counter, and let the mark name the last row."""
    with open_for_tampering(folder / LEDGER_FILE) as connection:
        connection.execute("DELETE FROM attempts")
        connection.executemany(INSERT, rows)
        connection.execute("UPDATE sqlite_sequence SET seq = ?", (len(rows),))
    if rows:
        set_mark(folder, Mark(rows[-1].id, rows[-1].hash))


def set_mark(folder: Path, mark: Mark) -> None:
    with closing(sqlite3.connect(folder / MARK_FILE)) as connection, connection:
        connection.execute("UPDATE mark SET row = ?, hash = ?", (mark.row, mark.hash))


def remove_mark(folder: Path) -> None:
    """Remove the mark and every trace of it in the ledger."""
    (folder / MARK_FILE).unlink()
    with closing(sqlite3.connect(folder / LEDGER_FILE)) as connection:
        connection.execute("PRAGMA application_id = 0")


def forge(rows: list[Row]) -> list[Row]:
    return [row._replace(reason="forged") if row.id == 2 else row for row in rows]


def strip(rows: list[Row]) -> list[Row]:
    return [row._replace(mac="") for row in rows]


def truncate(rows: list[Row]) -> list[Row]:
    return rows[:3]


ATTACKS: dict[str, Change] = {
    "the last rows removed, with counter and mark": truncate,
    "the first row removed": lambda rows: rechain(rows[1:]),
    "a row in the middle removed": lambda rows: rechain([*rows[:2], *rows[3:]]),
    "the last row removed and re-added with other content": lambda rows: rechain(
        [*rows[:-1], rows[-1]._replace(principal="else")]
    ),
    "a row altered and re-chained": lambda rows: rechain(forge(rows)),
    "two rows swapped": lambda rows: rechain([rows[0], rows[2], rows[1], *rows[3:]]),
    "a row duplicated": lambda rows: rechain([*rows, rows[0]._replace(attempt="again")]),
    "a row appended without a MAC": lambda rows: rechain([*rows, rows[0]._replace(mac="")]),
    "a row appended with the MAC of another": lambda rows: rechain([*rows, rows[0]]),
    "the MAC of one row removed": lambda rows: [*rows[:3], *strip(rows[3:4]), *rows[4:]],
    "the last MACs removed": lambda rows: [*rows[:3], *strip(rows[3:])],
    "an old table, re-chained": lambda rows: rechain(truncate(rows)),
    "MACs of two rows exchanged": lambda rows: [
        rows[0]._replace(mac=rows[1].mac),
        rows[1]._replace(mac=rows[0].mac),
        *rows[2:],
    ],
    "a MAC that is no ASCII": lambda rows: [*rows[:-1], rows[-1]._replace(mac="größe")],
}


@pytest.mark.parametrize("has_mark", [True, False])
@pytest.mark.parametrize("attack", ATTACKS.values(), ids=ATTACKS)
async def test_an_attack_without_the_key_is_reported_and_stops_plans(
    folder: Path, attack: Change, *, has_mark: bool
) -> None:
    assert await open_ledger(folder).verify() == []
    write_rows(folder, attack(read_rows(folder)))
    if not has_mark:
        remove_mark(folder)
    assert await open_ledger(folder).verify() != []


@pytest.mark.parametrize("attack", [truncate, ATTACKS["a row appended with the MAC of another"]])
async def test_no_plan_is_made_or_used_after_the_last_rows_were_replaced(
    folder: Path, attack: Change
) -> None:
    write_rows(folder, attack(read_rows(folder)))
    with pytest.raises(RefusedError, match="not written with the signing key"):
        await open_ledger(folder).record("planned", plan("new"))
    with pytest.raises(RefusedError, match="not written with the signing key"):
        await open_ledger(folder).check_plan("plan-1")
    with pytest.raises(RefusedError, match="not written with the signing key"):
        await open_ledger(folder).record("sent", plan("plan-1"))
    assert "sent" not in [row.event for row in read_rows(folder)]


async def test_a_forged_record_of_a_plan_is_not_a_record(folder: Path) -> None:
    rows = read_rows(folder)
    write_rows(folder, [*rows[:2], rows[2]._replace(attempt="forged"), *rows[3:]])
    with pytest.raises(RefusedError, match="missing or was altered"):
        await open_ledger(folder).check_plan("forged")


async def test_a_removed_mark_is_reported_and_stops_plans(folder: Path) -> None:
    remove_mark(folder)
    for key in (KEY, None):
        assert await open_ledger(folder, key).verify() == [
            "The mark of the ledger is missing, so rows may have been lost."
        ]
    with pytest.raises(RefusedError, match="lost its last rows"):
        await open_ledger(folder).record("planned", plan("new"))


async def test_a_mark_that_was_rolled_back_is_reported_and_stops_plans(tmp_path: Path) -> None:
    await fill(tmp_path, rows=3)
    shutil.copy(tmp_path / MARK_FILE, tmp_path / "copy")
    await fill(tmp_path, rows=2, first=3)
    shutil.copy(tmp_path / "copy", tmp_path / MARK_FILE)
    (problem,) = await open_ledger(tmp_path).verify()
    assert problem.startswith("The mark of the ledger names row 3, but the last row is 5")
    with pytest.raises(RefusedError, match="lost its last rows"):
        await open_ledger(tmp_path).record("planned", plan("new"))
    await open_ledger(tmp_path).acknowledge_loss(problem)
    await open_ledger(tmp_path).record("planned", plan("new"))
    assert await open_ledger(tmp_path).verify() == []


async def test_a_mark_without_its_mac_is_reported_and_stops_plans(folder: Path) -> None:
    with closing(sqlite3.connect(folder / MARK_FILE)) as connection, connection:
        connection.execute("UPDATE mark SET mac = ''")
    for key in (KEY, None):
        assert await open_ledger(folder, key).verify() == [
            "The mark of the ledger has no MAC, so it was altered."
        ]
    with pytest.raises(RefusedError, match="lost its last rows"):
        await open_ledger(folder).record("planned", plan("new"))


async def test_a_row_of_another_ledger_is_reported_even_with_the_same_key(tmp_path: Path) -> None:
    await fill(tmp_path / "one")
    await fill(tmp_path / "other", first=100)
    rows, others = read_rows(tmp_path / "one"), read_rows(tmp_path / "other")
    write_rows(tmp_path / "one", [*rows[:3], others[3], *rows[4:]])
    assert await open_ledger(tmp_path / "one").verify() != []
    write_rows(tmp_path / "one", rechain([*rows[:3], others[3], *rows[4:]]))
    assert await open_ledger(tmp_path / "one").verify() != []


@pytest.mark.parametrize("with_mark", [True, False])
async def test_the_ledger_of_another_team_is_reported_and_nothing_can_be_changed(
    tmp_path: Path, *, with_mark: bool
) -> None:
    await fill(tmp_path / "one")
    await fill(tmp_path / "other", OTHER_KEY)
    for name in (LEDGER_FILE, *([MARK_FILE] if with_mark else [])):
        shutil.copy(tmp_path / "other" / name, tmp_path / "one")
    problems = await open_ledger(tmp_path / "one").verify()
    assert any(problem.startswith("Rows 1 to 6: their MACs do not fit") for problem in problems)
    with pytest.raises(RefusedError):
        await open_ledger(tmp_path / "one").record("planned", plan("new"))
    if with_mark:
        for event in ("sent", "refused"):
            with pytest.raises(RefusedError, match="Servers that share a ledger must share"):
                await open_ledger(tmp_path / "one").record(event, plan("x")._replace(plan=""))
        assert len(read_rows(tmp_path / "one")) == ROWS


async def test_a_replaced_key_is_reported_until_it_is_acknowledged(folder: Path) -> None:
    """Replace the key as docs/security.md describes."""
    ledger = open_ledger(folder, OTHER_KEY)
    rows, mark = await ledger.verify()
    assert rows.startswith("Rows 1 to 6: their MACs do not fit: they were written or altered")
    assert mark.startswith("The MAC of the ledger's mark does not fit")
    with pytest.raises(RefusedError, match="`snapshot-mcp ledger acknowledge`"):
        await ledger.record("planned", plan("new"))
    await ledger.acknowledge_loss(rows)
    await ledger.record("planned", plan("new"))
    await ledger.record("sent", plan("new"))
    report = await open_ledger(folder, OTHER_KEY).inspect()
    assert report.problems == []
    assert report.notes == [
        "Rows 1 to 6: their MACs were not made with this signing key; row 7 acknowledges it."
    ]
    with pytest.raises(RefusedError, match="missing or was altered"):
        await ledger.check_plan("plan-1")
    assert "Rows 7 to 9: their MACs do not fit" in (await open_ledger(folder).verify())[0]


async def test_rows_that_were_altered_after_the_key_was_replaced_are_reported(
    folder: Path,
) -> None:
    await open_ledger(folder, OTHER_KEY).acknowledge_loss("the key was replaced")
    write_rows(folder, rechain(forge(read_rows(folder))))
    assert await open_ledger(folder, OTHER_KEY).verify() != []


async def test_an_acknowledgement_without_the_key_acknowledges_nothing(folder: Path) -> None:
    lost = read_rows(folder)[0]._replace(event="lost", attempt="", mac="0" * 64)
    write_rows(folder, rechain([*forge(read_rows(folder)), lost]))
    problems = await open_ledger(folder).verify()
    assert problems[0].startswith("Rows 2 to 7: their MACs do not fit")


async def test_the_outcome_is_recorded_even_if_the_ledger_was_replaced_meanwhile(
    tmp_path: Path,
) -> None:
    ledger = open_ledger(tmp_path)
    await ledger.record("sent", plan("running")._replace(plan=""))
    row = read_rows(tmp_path)[0]
    write_rows(tmp_path, [row, *rechain([row, row._replace(event="asked", mac="0")])[1:]])
    with pytest.raises(RefusedError, match="not written with the signing key"):
        await ledger.record("asked", plan("next"))
    await ledger.record("done", plan("running"))
    assert [row.event for row in read_rows(tmp_path)] == ["sent", "asked", "done"]
    ledger.close()


async def test_a_server_with_another_key_settles_nothing(tmp_path: Path) -> None:
    dead = open_ledger(tmp_path)
    await dead.record("sent", plan("x")._replace(plan=""))
    dead.close()
    other = open_ledger(tmp_path, OTHER_KEY)
    (sent,) = await other.unsettled()
    await other.settle(sent, "done", "seen")
    assert [row.event for row in read_rows(tmp_path)] == ["sent"]
    await open_ledger(tmp_path).settle(sent, "done", "seen")
    assert [row.event for row in read_rows(tmp_path)] == ["sent", "done"]


# Verification without the key, and with one that cannot be trusted.


async def test_without_the_key_the_chain_is_checked_and_the_macs_are_not(folder: Path) -> None:
    report = await open_ledger(folder, key=None).inspect()
    assert report.problems == []
    assert [note.split(",")[0] for note in report.notes] == ["The MACs were not checked"]
    assert not (folder / KEY_FILE).exists()
    write_rows(folder, forge(read_rows(folder)))
    problems = await open_ledger(folder, key=None).verify()
    assert "Row 2: it was altered; its fields do not match its hash." in problems


async def test_a_key_that_cannot_be_trusted_is_a_problem_and_the_chain_is_still_checked(
    folder: Path,
) -> None:
    write_rows(folder, forge(read_rows(folder)))
    (folder / KEY_FILE).symlink_to("elsewhere")
    (folder / "elsewhere").write_text("ab" * 32)
    problems = await open_ledger(folder, key=None).verify()
    assert "it is a symbolic link" in problems[0]
    assert "Row 2: it was altered; its fields do not match its hash." in problems
    with pytest.raises(LedgerError, match="it is a symbolic link"):
        await open_ledger(folder, key=None).record("sent", plan("new")._replace(plan=""))


# Ledgers of earlier versions.


async def make_old(folder: Path, *, mark: bool) -> None:
    """Write a ledger as the version before the MACs did, with or without a mark."""
    await fill(folder)
    rows = strip(read_rows(folder))
    with open_for_tampering(folder / LEDGER_FILE) as connection:
        connection.execute("ALTER TABLE attempts DROP COLUMN mac")
        connection.execute("PRAGMA user_version = 2")
    with closing(sqlite3.connect(folder / MARK_FILE)) as connection, connection:
        connection.execute("ALTER TABLE mark DROP COLUMN mac")
    if not mark:
        remove_mark(folder)
    assert len(rows) == ROWS


@pytest.mark.parametrize("mark", [True, False])
async def test_a_ledger_without_macs_verifies_and_continues_with_them(
    tmp_path: Path, *, mark: bool
) -> None:
    await make_old(tmp_path, mark=mark)
    for key in (KEY, None):
        report = await open_ledger(tmp_path, key).inspect()
        assert (report.problems, len(report.notes)) == ([], 1)
        assert report.notes[0].startswith("Rows 1 to 6 have no MAC")
    before = (await open_ledger(tmp_path).rows())[:ROWS]
    await open_ledger(tmp_path).record("planned", plan("new"))
    await open_ledger(tmp_path).record("sent", plan("new"))
    report = await open_ledger(tmp_path).inspect()
    assert report.problems == []
    (note,) = report.notes
    assert note.startswith("Rows 1 to 6 have no MAC, because an earlier version wrote them. Row 7")
    after = read_rows(tmp_path)
    assert after[:ROWS] == before
    assert [bool(row.mac) for row in after] == [False] * ROWS + [True, True]
    assert all(row.hash == compute_hash(row) for row in after)


@pytest.mark.parametrize("mark", [True, False])
async def test_an_old_row_that_is_altered_after_the_first_mac_is_reported(
    tmp_path: Path, *, mark: bool
) -> None:
    await make_old(tmp_path, mark=mark)
    await open_ledger(tmp_path).record("planned", plan("new"))
    write_rows(tmp_path, rechain(forge(read_rows(tmp_path))))
    assert any("MAC does not fit" in problem for problem in await open_ledger(tmp_path).verify())


@pytest.mark.parametrize("kept", [ROWS, ROWS + 1])
async def test_an_old_ledger_that_loses_its_first_rows_with_macs_is_reported(
    tmp_path: Path, kept: int
) -> None:
    await make_old(tmp_path, mark=True)
    await fill(tmp_path, rows=3, first=100)
    write_rows(tmp_path, read_rows(tmp_path)[:kept])
    assert any("MAC" in problem for problem in await open_ledger(tmp_path).verify())
    with pytest.raises(RefusedError):
        await open_ledger(tmp_path).record("planned", plan("new"))


async def test_rows_are_not_passed_off_as_those_of_an_earlier_version(folder: Path) -> None:
    rows = read_rows(folder)
    write_rows(folder, rechain(strip(forge(rows))))
    problems = await open_ledger(folder).verify()
    assert any("mark does not fit" in problem for problem in problems)
    with pytest.raises(RefusedError, match="not written with the signing key"):
        await open_ledger(folder).record("planned", plan("new"))


async def test_removed_macs_after_the_mark_are_reported(tmp_path: Path) -> None:
    await fill(tmp_path, rows=1)
    shutil.copy(tmp_path / MARK_FILE, tmp_path / "copy")
    await fill(tmp_path, rows=1, first=1)
    write_rows(tmp_path, strip(read_rows(tmp_path)))
    shutil.copy(tmp_path / "copy", tmp_path / MARK_FILE)
    assert await open_ledger(tmp_path).verify() == [
        "The MACs of the rows were removed: the mark shows that row 1 had one."
    ]
    with pytest.raises(RefusedError, match="lost its last rows"):
        await open_ledger(tmp_path).record("planned", plan("new"))


def crash(*_: object, **__: object) -> None:
    raise MemoryError


async def test_a_crash_after_the_mark_of_an_old_ledger_was_signed_is_not_a_loss(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await make_old(tmp_path, mark=True)
    with monkeypatch.context() as patch:
        patch.setattr("snapshot_mcp.ledger.base._append", crash)
        with pytest.raises(MemoryError):
            await open_ledger(tmp_path).record("planned", plan("new"))
    mark = MarkFile(tmp_path / MARK_FILE, 1).read()
    assert mark is not None
    assert mark.mac
    assert await open_ledger(tmp_path).verify() == []
    await open_ledger(tmp_path).record("planned", plan("new"))
    assert await open_ledger(tmp_path).verify() == []


# Properties of the MACs.


@given(
    key=st.binary(min_size=32, max_size=64),
    other=st.binary(min_size=32, max_size=64),
    row=st.integers(0, 99),
    text=st.text(max_size=70),
)
@hypothesis_settings(max_examples=50)
def test_a_mac_fits_one_key_one_text_and_one_purpose(
    key: bytes, other: bytes, row: int, text: str
) -> None:
    macs = LedgerMacs(key)
    mark = macs.sign_mark(Mark(row, text))
    mac = macs.sign_row(SAMPLE._replace(hash=text)).mac
    assert macs.fits_mark(mark)
    assert macs.fits_row(text, mac)
    assert not macs.fits_row(f"{row} {text}", mark.mac)
    assert not macs.fits_row(text + "x", mac)
    assert not macs.fits_mark(mark._replace(row=row + 1))
    assert not macs.fits_mark(mark._replace(mac=mac))
    assert LedgerMacs(other).fits_row(text, mac) == (key == other)


def test_verifying_nothing_finds_nothing() -> None:
    assert verify_snapshot(ChainSnapshot([]), LedgerMacs(KEY)) == ([], False, [], [])
