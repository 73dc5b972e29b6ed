"""The SQL of the embedded cloud, and nothing else.

Every operation has a connection and a transaction of its own, so threads, other processes and
a sudden end of this one cannot leave half of anything behind.
"""

import json
import sqlite3
from collections.abc import Callable, Generator
from contextlib import closing, contextmanager, suppress
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import Literal

from snapshot_mcp.core.errors import ConfigurationError
from snapshot_mcp.sandbox import schema
from snapshot_mcp.sandbox.entities import (
    Event,
    Image,
    Json,
    Snapshot,
    Vm,
    from_micros,
    snapshot_from,
    to_micros,
    vm_from,
)
from snapshot_mcp.sandbox.request import PageRequest

Kind = Literal["region", "environment", "image", "price"]
Subject = Literal["snapshot", "virtual_machine"]
Named = Literal["snapshot", "virtual_machine", "image"]

_BUSY_MILLISECONDS = 10_000

# An empty search finds everything; instr needs no escaping of % and _, and the folded names
# make it blind to case in every alphabet, where LIKE sees ASCII only.
_FOUND = "(:search = '' OR instr({table}.folded, :search) > 0)"
_FOUND_VMS = (
    _FOUND.format(table="vms") + " AND (:environment IS NULL OR vms.environment = :environment)"
)
_FOUND_SNAPSHOTS = _FOUND.format(table="snapshots")

_SNAPSHOTS = """
    SELECT snapshots.*, vms.born, vms.resting, vms.snapshot_began, vms.snapshot_gb,
        images.id AS image_id, images.name AS image_name, images.labels AS image_labels, images.made
    FROM snapshots
    LEFT JOIN images ON images.snapshot_id = snapshots.id
    LEFT JOIN vms ON vms.id = snapshots.vm_id
"""

_TAKEN: dict[Named, str] = {
    "snapshot": "SELECT 1 FROM snapshots WHERE name = ?",
    "virtual_machine": "SELECT 1 FROM vms WHERE name = ?",
    "image": "SELECT 1 FROM images WHERE name = ?",
}


def connect(database: Path) -> sqlite3.Connection:
    """Open the database file, which is made if need be; the caller closes it."""
    database.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    connection = sqlite3.connect(database, timeout=0, isolation_level=None)
    connection.row_factory = sqlite3.Row
    with suppress(sqlite3.OperationalError):
        # Another process holds the file: what it set, or the next connection sets, serves as well.
        connection.execute("PRAGMA journal_mode = WAL")
    connection.execute(f"PRAGMA busy_timeout = {_BUSY_MILLISECONDS}")
    connection.execute("PRAGMA foreign_keys = ON")
    return connection


@contextmanager
def transaction(
    database: Path, *, write: bool, first: Callable[["StoreSession"], None]
) -> Generator["StoreSession"]:
    """One transaction on one connection: everything in it happens, or nothing does.

    Args:
        database: the file.
        write: take the write lock at once, so what is read cannot change before it is written.
        first: fills a new file; of several processes that find it new, one alone does it.

    Raises:
        ConfigError: a later version of this program has changed the tables.
    """
    with closing(connect(database)) as connection:
        if _version(connection) != schema.VERSION:
            with _bounds(connection, "BEGIN IMMEDIATE"):
                _migrate(connection, first)
        with _bounds(connection, "BEGIN IMMEDIATE" if write else "BEGIN"):
            yield StoreSession(connection)


@contextmanager
def _bounds(connection: sqlite3.Connection, begin: str) -> Generator[None]:
    connection.execute(begin)
    try:
        yield
    except BaseException:
        connection.execute("ROLLBACK")
        raise
    connection.execute("COMMIT")


def _version(connection: sqlite3.Connection) -> int:
    return connection.execute("PRAGMA user_version").fetchone()[0]


def _migrate(connection: sqlite3.Connection, first: Callable[["StoreSession"], None]) -> None:
    version = _version(connection)
    if version > schema.VERSION:
        raise ConfigurationError(
            "The embedded cloud's database was written by a later version of snapshot-mcp.",
            "Update snapshot-mcp, or move the database file away to begin anew.",
        )
    if version == 0:
        for statement in schema.TABLES:
            connection.execute(statement)
        connection.execute(f"PRAGMA user_version = {schema.VERSION}")
        first(StoreSession(connection))


class StoreSession:
    """The statements that can be run within a transaction."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def catalogue(self, kind: Kind) -> list[Json]:
        """What the cloud offers, as on the wire."""
        rows = self._connection.execute(
            "SELECT body FROM catalogue WHERE kind = ? ORDER BY id", (kind,)
        )
        return [json.loads(row["body"]) for row in rows]

    def offer(self, kind: Kind, body: Json) -> None:
        """Add something to the catalogue."""
        self._connection.execute(
            "INSERT INTO catalogue VALUES (?, ?, ?)", (kind, body["id"], json.dumps(body))
        )

    def taken(self, kind: Named, name: str) -> bool:
        """Whether something of that kind has the name."""
        return self._connection.execute(_TAKEN[kind], (name,)).fetchone() is not None

    def vm(self, vm_id: int) -> Vm | None:
        """The VM with the id."""
        row = self._connection.execute("SELECT * FROM vms WHERE id = ?", (vm_id,)).fetchone()
        return None if row is None else vm_from(row)

    def vms(self, search: str, environment: str | None, page: PageRequest) -> tuple[int, list[Vm]]:
        """How many VMs match, and those of the page, oldest first."""
        found = {"search": search, "environment": environment}
        count = f"SELECT count(*) FROM vms WHERE {_FOUND_VMS}"  # noqa: S608 - constants only
        rows = self._connection.execute(
            f"SELECT * FROM vms WHERE {_FOUND_VMS}"  # noqa: S608 - constants only
            " ORDER BY born, id LIMIT :limit OFFSET :offset",
            {**found, "limit": page.limit, "offset": page.offset},
        )
        total = self._connection.execute(count, found).fetchone()[0]
        return total, [vm_from(row) for row in rows]

    def add_vm(self, vm: Vm) -> int:
        """Add a VM and tell its id; an id of 0 asks for the next one."""
        inserted = self._connection.execute(
            "INSERT INTO vms (id, name, folded, environment, config, labels, floating_ip,"
            " contract_id, resting, born) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                vm.id or None,
                vm.name,
                vm.name.casefold(),
                vm.config.environment["name"],
                json.dumps(asdict(vm.config)),
                json.dumps(vm.labels),
                vm.floating_ip,
                vm.contract_id,
                vm.times.resting,
                to_micros(vm.times.born),
            ),
        )
        return inserted.lastrowid or 0

    def remove_vm(self, vm_id: int) -> None:
        """Remove the VM; its snapshots stay."""
        self._connection.execute("DELETE FROM vms WHERE id = ?", (vm_id,))

    def occupy_vm(self, snapshot: Snapshot) -> None:
        """Note at the VM that the snapshot has begun."""
        self._connection.execute(
            "UPDATE vms SET snapshot_began = ?, snapshot_gb = ? WHERE id = ?",
            (to_micros(snapshot.began), snapshot.gigabytes, snapshot.vm_id),
        )

    def snapshot(self, snapshot_id: int) -> Snapshot | None:
        """The snapshot with the id."""
        row = self._connection.execute(
            _SNAPSHOTS + "WHERE snapshots.id = ?", (snapshot_id,)
        ).fetchone()
        return None if row is None else snapshot_from(row)

    def snapshots(self, search: str, page: PageRequest) -> tuple[int, list[Snapshot]]:
        """How many snapshots match, and those of the page, newest first."""
        count = f"SELECT count(*) FROM snapshots WHERE {_FOUND_SNAPSHOTS}"  # noqa: S608 - constants only
        rows = self._connection.execute(
            f"{_SNAPSHOTS} WHERE {_FOUND_SNAPSHOTS}"
            " ORDER BY snapshots.began DESC, snapshots.id DESC LIMIT :limit OFFSET :offset",
            {"search": search, "limit": page.limit, "offset": page.offset},
        )
        total = self._connection.execute(count, {"search": search}).fetchone()[0]
        return total, [snapshot_from(row) for row in rows]

    def usable_snapshots(self, vm_id: int) -> int:
        """How many snapshots of the VM a further one can build on."""
        return self._connection.execute(
            "SELECT count(*) FROM snapshots WHERE vm_id = ? AND outcome = 'SUCCESS'", (vm_id,)
        ).fetchone()[0]

    def add_snapshot(self, snapshot: Snapshot) -> int:
        """Add a snapshot and tell its id; an id of 0 asks for the next one."""
        inserted = self._connection.execute(
            "INSERT INTO snapshots (id, name, folded, description, labels, vm_id, vm_name, config,"
            " has_floating_ip, began, gigabytes, outcome)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                snapshot.id or None,
                snapshot.name,
                snapshot.name.casefold(),
                snapshot.description,
                json.dumps(snapshot.labels),
                snapshot.vm_id,
                snapshot.vm_name,
                json.dumps(asdict(snapshot.config)),
                snapshot.has_floating_ip,
                to_micros(snapshot.began),
                snapshot.gigabytes,
                snapshot.outcome,
            ),
        )
        return inserted.lastrowid or 0

    def remove_snapshot(self, snapshot_id: int) -> None:
        """Remove the snapshot and the image made from it."""
        self._connection.execute("DELETE FROM snapshots WHERE id = ?", (snapshot_id,))

    def add_image(self, image: Image) -> int:
        """Add an image, mark its snapshot as changed, and tell the image's id."""
        made = to_micros(image.made)
        inserted = self._connection.execute(
            "INSERT INTO images (id, snapshot_id, name, labels, made) VALUES (?, ?, ?, ?, ?)",
            (image.id or None, image.snapshot_id, image.name, json.dumps(image.labels), made),
        )
        self._connection.execute(
            "UPDATE snapshots SET touched = ? WHERE id = ?", (made, image.snapshot_id)
        )
        return inserted.lastrowid or 0

    def images(self) -> list[Snapshot]:
        """The snapshots that have an image, oldest image first."""
        rows = self._connection.execute(
            _SNAPSHOTS + "WHERE images.id IS NOT NULL ORDER BY images.id"
        )
        return [snapshot_from(row) for row in rows]

    def add_event(self, kind: Subject, subject: int, event: Event) -> None:
        """Record an event; one that lies ahead is told when its time has come."""
        self._connection.execute(
            "INSERT INTO events (kind, subject, at, type, reason, message)"
            " VALUES (?, ?, ?, ?, ?, ?)",
            (kind, subject, to_micros(event.at), event.type, event.reason, event.message),
        )

    def events(self, kind: Subject, subject: int, now: datetime) -> list[Event]:
        """What has happened so far, newest first."""
        rows = self._connection.execute(
            "SELECT id, at, type, reason, message FROM events"
            " WHERE kind = ? AND subject = ? AND at <= ? ORDER BY at DESC, id DESC",
            (kind, subject, to_micros(now)),
        )
        return [
            Event(from_micros(row["at"]), row["type"], row["reason"], row["message"], row["id"])
            for row in rows
        ]
