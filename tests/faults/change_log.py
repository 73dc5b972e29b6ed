"""What really changed in the cloud, noted by its own database, and what the ledger says to it."""

import json
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any, Literal, NamedTuple, cast

_TRIGGERS = """
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
NAME_ARGUMENTS = {
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


class RequestedWrite(NamedTuple):
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


class LedgerEntry(NamedTuple):
    """One row of the ledger, as far as the comparison needs it."""

    id: int
    event: str
    attempt: str
    write: RequestedWrite
    reason: str
    owner: str


def install_triggers(database: Path) -> None:
    """Let the cloud's database note every change from now on."""
    with closing(sqlite3.connect(database)) as connection:
        connection.executescript(_TRIGGERS)
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def read_changes(database: Path) -> list[Change]:
    """Everything that changed since `install`, in order."""
    query = "SELECT change, thing, number, name, vm_id FROM witness ORDER BY id"
    return [Change(*row) for row in query_rows(database, query)]


def read_ledger(ledger: Path) -> list[LedgerEntry]:
    """The whole ledger."""
    if not ledger.exists():
        return []
    return [
        LedgerEntry(number, event, attempt, _write(tool, target, arguments), reason, owner)
        for number, event, attempt, tool, target, arguments, reason, owner in query_rows(
            ledger, f"{_ROWS} ORDER BY id"
        )
    ]


def open_attempts(entries: list[LedgerEntry], write: RequestedWrite) -> list[LedgerEntry]:
    """The `sent` rows for this write that have no end yet."""
    ended = {entry.attempt for entry in entries if entry.event in ENDS}
    return [
        entry
        for entry in entries
        if entry.event == "sent" and entry.write == write and entry.attempt not in ended
    ]


def parse_write(method: str, path: str, name: str) -> RequestedWrite:
    """What a request is about, by its address."""
    parts = path.split("/")
    if method == "DELETE":
        return RequestedWrite("delete_snapshot", int(parts[-1]), "")
    return RequestedWrite(_CALLS[parts[-1]], int(parts[-2]), name)


def query_rows(database: Path, query: str) -> list[tuple[Any, ...]]:
    with closing(sqlite3.connect(database, timeout=10)) as connection:
        return connection.execute(query).fetchall()


def _write(tool: str, target: int, arguments: str) -> RequestedWrite:
    given = cast("dict[str, str]", json.loads(arguments))
    return RequestedWrite(tool, target, given.get(NAME_ARGUMENTS.get(tool, ""), ""))
