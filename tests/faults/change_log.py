"""The changes that the cloud's database logs by triggers, and the rows of the ledger."""

import json
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any, Literal, NamedTuple, cast

_TRIGGERS = """
CREATE TABLE actor (others INTEGER);
INSERT INTO actor VALUES (0);
CREATE TABLE change_log (
    id INTEGER PRIMARY KEY, change TEXT, thing TEXT, number INTEGER, name TEXT, vm_id INTEGER,
    by_others INTEGER, labels TEXT, began INTEGER, gigabytes INTEGER, outcome TEXT
);
CREATE TRIGGER snapshot_made AFTER INSERT ON snapshots BEGIN INSERT INTO change_log
    SELECT NULL, 'made', 'snapshot', NEW.id, NEW.name, NEW.vm_id, others, NEW.labels, NEW.began,
    NEW.gigabytes, NEW.outcome FROM actor; END;
CREATE TRIGGER snapshot_labelled AFTER UPDATE OF labels ON snapshots BEGIN INSERT INTO change_log
    SELECT NULL, 'labelled', 'snapshot', NEW.id, NEW.name, NEW.vm_id, others, NEW.labels, NEW.began,
    NEW.gigabytes, NEW.outcome FROM actor; END;
CREATE TRIGGER snapshot_gone AFTER DELETE ON snapshots BEGIN INSERT INTO change_log
    SELECT NULL, 'gone', 'snapshot', OLD.id, OLD.name, OLD.vm_id, others, OLD.labels, OLD.began,
    OLD.gigabytes, OLD.outcome FROM actor; END;
CREATE TRIGGER vm_made AFTER INSERT ON vms BEGIN INSERT INTO change_log
    SELECT NULL, 'made', 'vm', NEW.id, NEW.name, NEW.id, others, '[]', 0, 0, '' FROM actor; END;
CREATE TRIGGER image_made AFTER INSERT ON images BEGIN INSERT INTO change_log
    SELECT NULL, 'made', 'image', NEW.id, NEW.name, NEW.snapshot_id, others, '[]', 0, 0, ''
    FROM actor; END;
CREATE TRIGGER vm_gone AFTER DELETE ON vms BEGIN INSERT INTO change_log
    SELECT NULL, 'gone', 'vm', OLD.id, OLD.name, OLD.id, others, '[]', 0, 0, '' FROM actor; END;
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
    """One object that was created, labelled or deleted in the cloud.

    Attributes:
        vm_id: id of the VM; of an image, id of its snapshot.
        by_others: whether someone else changed it, and no server of the test.
        labels: the labels as JSON.
        began: start of a snapshot's creation, in microseconds since 1970.
        gigabytes: final size of a snapshot.
        outcome: status of a snapshot after its creation.
        id: its place in the change log; 0 for what existed before.
    """

    change: Literal["made", "labelled", "gone"]
    thing: Literal["snapshot", "vm", "image"]
    number: int
    name: str
    vm_id: int
    by_others: bool
    labels: str
    began: int
    gigabytes: int
    outcome: str
    id: int = 0


class RequestedWrite(NamedTuple):
    """The write that a request, or an attempt in the ledger, asks for.

    Attributes:
        tool: the tool that sends it.
        target: id of the VM to take a snapshot of, or of the snapshot.
        name: name of what would be created; empty for a deletion.
    """

    tool: str
    target: int
    name: str

    def effects_in(self, changes: list[Change]) -> list[Change]:
        """Return the changes that this write would make, also those that others made.

        If others take its name or delete its target at the same moment, and its own reply is lost,
        the server cannot tell their effect from its own.
        """
        match self.tool:
            case "create_snapshot":
                return [
                    change
                    for change in changes
                    if (change.change, change.thing, change.name, change.vm_id)
                    == ("made", "snapshot", self.name, self.target)
                ]
            case "restore_snapshot":
                return [
                    change
                    for change in changes
                    if change[:2] == ("made", "vm") and change.name == self.name
                ]
            case "create_image_from_snapshot":
                return [
                    change
                    for change in changes
                    if change[:2] == ("made", "image") and change.name == self.name
                ]
            case _:
                return [
                    change for change in changes if change[:3] == ("gone", "snapshot", self.target)
                ]


class LedgerEntry(NamedTuple):
    """The fields of a ledger row that the comparison needs."""

    id: int
    event: str
    attempt: str
    write: RequestedWrite
    reason: str
    owner: str


def install_triggers(database: Path) -> None:
    """Let the cloud's database log every change from now on."""
    with closing(sqlite3.connect(database)) as connection:
        connection.executescript(_TRIGGERS)
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def read_changes(database: Path) -> list[Change]:
    """Return all changes since `install_triggers`, in order."""
    query = f"SELECT {', '.join(Change._fields)} FROM change_log ORDER BY id"  # noqa: S608 - constants
    return [Change(*row) for row in query_rows(database, query)]


def read_existing_snapshots(database: Path) -> list[Change]:
    """Return the present snapshots, as if they were made now."""
    query = """SELECT 'made', 'snapshot', id, name, vm_id, 0, labels, began, gigabytes, outcome
        FROM snapshots ORDER BY id"""
    return [Change(*row) for row in query_rows(database, query)]


def read_ledger(ledger: Path) -> list[LedgerEntry]:
    """Return all rows of the ledger."""
    if not ledger.exists():
        return []
    return [
        LedgerEntry(number, event, attempt, _write(tool, target, arguments), reason, owner)
        for number, event, attempt, tool, target, arguments, reason, owner in query_rows(
            ledger, f"{_ROWS} ORDER BY id"
        )
    ]


def open_attempts(entries: list[LedgerEntry], write: RequestedWrite) -> list[LedgerEntry]:
    """Return the `sent` rows for this write that have no end yet."""
    ended = {entry.attempt for entry in entries if entry.event in ENDS}
    return [
        entry
        for entry in entries
        if entry.event == "sent" and entry.write == write and entry.attempt not in ended
    ]


def parse_write(method: str, path: str, name: str) -> RequestedWrite:
    """Return the write that a request asks for, from its address."""
    parts = path.split("/")
    if method == "DELETE":
        return RequestedWrite("delete_snapshot", int(parts[-1]), "")
    return RequestedWrite(_CALLS[parts[-1]], int(parts[-2]), name)


def query_rows(database: Path, query: str) -> list[tuple[Any, ...]]:
    with closing(sqlite3.connect(database, timeout=10)) as connection:
        return connection.execute(query).fetchall()


def _write(tool: str, target: int, arguments: str) -> RequestedWrite:
    values = cast("dict[str, str]", json.loads(arguments))
    return RequestedWrite(tool, target, values.get(NAME_ARGUMENTS.get(tool, ""), ""))
