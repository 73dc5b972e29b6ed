"""What really changed in the cloud, noted by its own database, and what the ledger says to it."""

import json
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any, Literal, NamedTuple, cast

_WITNESS = """
CREATE TABLE witness (
    id INTEGER PRIMARY KEY, change TEXT, thing TEXT, number INTEGER, name TEXT, vm_id INTEGER
);
CREATE TRIGGER snapshot_made AFTER INSERT ON snapshots BEGIN INSERT INTO witness
    VALUES (NULL, 'made', 'snapshot', NEW.id, NEW.name, NEW.vm_id); END;
CREATE TRIGGER snapshot_gone AFTER DELETE ON snapshots BEGIN INSERT INTO witness
    VALUES (NULL, 'gone', 'snapshot', OLD.id, OLD.name, OLD.vm_id); END;
CREATE TRIGGER vm_made AFTER INSERT ON vms BEGIN INSERT INTO witness
    VALUES (NULL, 'made', 'vm', NEW.id, NEW.name, NEW.id); END;
CREATE TRIGGER image_made AFTER INSERT ON images BEGIN INSERT INTO witness
    VALUES (NULL, 'made', 'image', NEW.id, NEW.name, NEW.snapshot_id); END;
CREATE TRIGGER vm_gone AFTER DELETE ON vms BEGIN INSERT INTO witness
    VALUES (NULL, 'gone', 'vm', OLD.id, OLD.name, OLD.id); END;
"""
_ROWS = "SELECT id, event, attempt, tool, target, arguments, reason, owner FROM attempts"
ENDS = ("done", "failed", "unknown")
NAMES = {
    "create_snapshot": "name",
    "restore_snapshot": "new_vm_name",
    "create_image_from_snapshot": "name",
}

_CALLS = {
    "snapshots": "create_snapshot",
    "restore": "restore_snapshot",
    "image": "create_image_from_snapshot",
}


class Change(NamedTuple):
    """One thing that was made or went away in the cloud; an image is noted with its snapshot."""

    change: Literal["made", "gone"]
    thing: Literal["snapshot", "vm", "image"]
    number: int
    name: str
    vm_id: int


class Write(NamedTuple):
    """What a request, or an attempt in the ledger, is about.

    Attributes:
        tool: the tool that sends it.
        target: id of the VM to take a snapshot of, or of the snapshot.
        name: of what would be made; empty for a deletion.
    """

    tool: str
    target: int
    name: str

    def is_in(self, changes: list[Change]) -> list[Change]:
        """Those of the changes that this would make."""
        match self.tool:
            case "create_snapshot":
                return [
                    it
                    for it in changes
                    if (it.change, it.thing, it.name, it.vm_id)
                    == ("made", "snapshot", self.name, self.target)
                ]
            case "restore_snapshot":
                return [it for it in changes if it[:2] == ("made", "vm") and it.name == self.name]
            case "create_image_from_snapshot":
                return [
                    it for it in changes if it[:2] == ("made", "image") and it.name == self.name
                ]
            case _:
                return [it for it in changes if it[:3] == ("gone", "snapshot", self.target)]


class Entry(NamedTuple):
    """One row of the ledger, as far as the comparison needs it."""

    id: int
    event: str
    attempt: str
    write: Write
    reason: str
    owner: str


def install(database: Path) -> None:
    """Let the cloud's database note every change from now on."""
    with closing(sqlite3.connect(database)) as connection:
        connection.executescript(_WITNESS)
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def changes_in(database: Path) -> list[Change]:
    """Everything that changed since `install`, in order."""
    query = "SELECT change, thing, number, name, vm_id FROM witness ORDER BY id"
    return [Change(*row) for row in rows_of(database, query)]


def entries_of(ledger: Path) -> list[Entry]:
    """The whole ledger."""
    if not ledger.exists():
        return []
    return [
        Entry(number, event, attempt, _write(tool, target, arguments), reason, owner)
        for number, event, attempt, tool, target, arguments, reason, owner in rows_of(
            ledger, f"{_ROWS} ORDER BY id"
        )
    ]


def open_attempts(entries: list[Entry], write: Write) -> list[Entry]:
    """The `sent` rows for this write that have no end yet."""
    ended = {entry.attempt for entry in entries if entry.event in ENDS}
    return [
        entry
        for entry in entries
        if entry.event == "sent" and entry.write == write and entry.attempt not in ended
    ]


def write_of(method: str, path: str, name: str) -> Write:
    """What a request is about, by its address."""
    parts = path.split("/")
    if method == "DELETE":
        return Write("delete_snapshot", int(parts[-1]), "")
    return Write(_CALLS[parts[-1]], int(parts[-2]), name)


def rows_of(database: Path, query: str) -> list[tuple[Any, ...]]:
    with closing(sqlite3.connect(database, timeout=10)) as connection:
        return connection.execute(query).fetchall()


def _write(tool: str, target: int, arguments: str) -> Write:
    given = cast("dict[str, str]", json.loads(arguments))
    return Write(tool, target, given.get(NAMES.get(tool, ""), ""))
