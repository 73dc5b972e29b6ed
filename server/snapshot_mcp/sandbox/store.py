"""Store: the SQL of the embedded cloud.

Every operation has its own connection and transaction. Other threads, other processes and a crash
of this process therefore cannot leave a change half done.
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
    snapshot_from_row,
    to_micros,
    vm_from_row,
)
from snapshot_mcp.sandbox.request import PageRequest

CatalogueKind = Literal["region", "environment", "image", "price"]
ResourceKind = Literal["snapshot", "virtual_machine"]
NamedKind = Literal["snapshot", "virtual_machine", "image"]

_BUSY_MILLISECONDS = 10_000

# An empty search matches every row. `instr` needs no escaping of % and _. The case-folded names
# ignore case in every alphabet, while LIKE does so for ASCII only.
_MATCHES_SEARCH = "(:search = '' OR instr({table}.folded, :search) > 0)"
_VM_FILTER = (
    _MATCHES_SEARCH.format(table="vms")
    + " AND (:environment IS NULL OR vms.environment = :environment)"
)
_SNAPSHOT_FILTER = _MATCHES_SEARCH.format(table="snapshots")

_SELECT_SNAPSHOTS = """
    SELECT snapshots.*, vms.born, vms.resting, vms.snapshot_began, vms.snapshot_gb,
        images.id AS image_id, images.name AS image_name, images.labels AS image_labels, images.made
    FROM snapshots
    LEFT JOIN images ON images.snapshot_id = snapshots.id
    LEFT JOIN vms ON vms.id = snapshots.vm_id
"""

_NAME_QUERIES: dict[NamedKind, str] = {
    "snapshot": "SELECT 1 FROM snapshots WHERE name = ?",
    "virtual_machine": "SELECT 1 FROM vms WHERE name = ?",
    "image": "SELECT 1 FROM images WHERE name = ?",
}


def connect(database: Path) -> sqlite3.Connection:
    """Open the database file, creating it if necessary; the caller closes the connection."""
    database.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    connection = sqlite3.connect(database, timeout=0, isolation_level=None)
    connection.row_factory = sqlite3.Row
    with suppress(sqlite3.OperationalError):
        # If another process holds the file, it or the next connection sets the journal mode.
        connection.execute("PRAGMA journal_mode = WAL")
    connection.execute(f"PRAGMA busy_timeout = {_BUSY_MILLISECONDS}")
    connection.execute("PRAGMA foreign_keys = ON")
    return connection


@contextmanager
def transaction(
    database: Path, *, write: bool, initialize: Callable[["StoreSession"], None]
) -> Generator["StoreSession"]:
    """Run the block in one transaction on its own connection.

    Args:
        database: the SQLite file.
        write: take the write lock at the start, so that rows cannot change between read and write.
        initialize: fills a new database; only one of several concurrent processes calls it.

    Raises:
        ConfigurationError: A later version of this program has changed the tables.
    """
    with closing(connect(database)) as connection:
        if _version(connection) != schema.SCHEMA_VERSION:
            with _begin(connection, "BEGIN IMMEDIATE"):
                _migrate(connection, initialize)
        with _begin(connection, "BEGIN IMMEDIATE" if write else "BEGIN"):
            yield StoreSession(connection)


@contextmanager
def open_copy(state: bytes) -> Generator["StoreSession"]:
    """Open a state that `StoreSession.serialize` returned, in memory."""
    with closing(sqlite3.connect(":memory:")) as connection:
        connection.row_factory = sqlite3.Row
        connection.deserialize(state)
        yield StoreSession(connection)


@contextmanager
def _begin(connection: sqlite3.Connection, statement: str) -> Generator[None]:
    connection.execute(statement)
    try:
        yield
    except BaseException:
        connection.execute("ROLLBACK")
        raise
    connection.execute("COMMIT")


def _version(connection: sqlite3.Connection) -> int:
    return connection.execute("PRAGMA user_version").fetchone()[0]


def _migrate(connection: sqlite3.Connection, initialize: Callable[["StoreSession"], None]) -> None:
    version = _version(connection)
    if version > schema.SCHEMA_VERSION:
        raise ConfigurationError(
            "The embedded cloud's database was written by a later version of snapshot-mcp.",
            "Update snapshot-mcp, or move the database file away to start with a new one.",
        )
    if version == 0:
        for statement in schema.TABLES:
            connection.execute(statement)
        connection.execute(f"PRAGMA user_version = {schema.SCHEMA_VERSION}")
        initialize(StoreSession(connection))


class StoreSession:
    """The statements of one transaction."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def serialize(self) -> bytes:
        """Return the complete database, for `open_copy`."""
        state = bytearray(self._connection.serialize())
        state[18:20] = b"\1\1"  # a database in memory has no write-ahead log
        return bytes(state)

    def catalogue_items(self, kind: CatalogueKind) -> list[Json]:
        """Return the catalogue items of a kind, in the API's format."""
        rows = self._connection.execute(
            "SELECT body FROM catalogue WHERE kind = ? ORDER BY id", (kind,)
        )
        return [json.loads(row["body"]) for row in rows]

    def add_catalogue_item(self, kind: CatalogueKind, body: Json) -> None:
        """Add an item to the catalogue."""
        self._connection.execute(
            "INSERT INTO catalogue VALUES (?, ?, ?)", (kind, body["id"], json.dumps(body))
        )

    def name_exists(self, kind: NamedKind, name: str) -> bool:
        """Return whether a resource of this kind has the name."""
        return self._connection.execute(_NAME_QUERIES[kind], (name,)).fetchone() is not None

    def find_vm(self, vm_id: int) -> Vm | None:
        """Return the VM with this id, or None."""
        row = self._connection.execute("SELECT * FROM vms WHERE id = ?", (vm_id,)).fetchone()
        return None if row is None else vm_from_row(row)

    def list_vms(
        self, search: str, environment: str | None, page: PageRequest
    ) -> tuple[int, list[Vm]]:
        """Return the number of matching VMs, and those of the page, oldest first."""
        filters = {"search": search, "environment": environment}
        count = f"SELECT count(*) FROM vms WHERE {_VM_FILTER}"  # noqa: S608 - constants only
        rows = self._connection.execute(
            f"SELECT * FROM vms WHERE {_VM_FILTER}"  # noqa: S608 - constants only
            " ORDER BY born, id LIMIT :limit OFFSET :offset",
            {**filters, "limit": page.limit, "offset": page.offset},
        )
        total = self._connection.execute(count, filters).fetchone()[0]
        return total, [vm_from_row(row) for row in rows]

    def add_vm(self, vm: Vm) -> int:
        """Add a VM and return its id; an id of 0 requests the next id."""
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
                vm.times.idle_status,
                to_micros(vm.times.created_at),
            ),
        )
        return inserted.lastrowid or 0

    def delete_vm(self, vm_id: int) -> None:
        """Delete the VM but not its snapshots."""
        self._connection.execute("DELETE FROM vms WHERE id = ?", (vm_id,))

    def record_vm_snapshot(self, snapshot: Snapshot) -> None:
        """Record in the VM that a snapshot of it has started."""
        self._connection.execute(
            "UPDATE vms SET snapshot_began = ?, snapshot_gb = ? WHERE id = ?",
            (to_micros(snapshot.started_at), snapshot.size_gb, snapshot.vm_id),
        )

    def find_snapshot(self, snapshot_id: int) -> Snapshot | None:
        """Return the snapshot with this id, or None."""
        row = self._connection.execute(
            _SELECT_SNAPSHOTS + "WHERE snapshots.id = ?", (snapshot_id,)
        ).fetchone()
        return None if row is None else snapshot_from_row(row)

    def list_snapshots(self, search: str, page: PageRequest) -> tuple[int, list[Snapshot]]:
        """Return the number of matching snapshots, and those of the page, newest first."""
        count = f"SELECT count(*) FROM snapshots WHERE {_SNAPSHOT_FILTER}"  # noqa: S608 - constants only
        rows = self._connection.execute(
            f"{_SELECT_SNAPSHOTS} WHERE {_SNAPSHOT_FILTER}"
            " ORDER BY snapshots.began DESC, snapshots.id DESC LIMIT :limit OFFSET :offset",
            {"search": search, "limit": page.limit, "offset": page.offset},
        )
        total = self._connection.execute(count, {"search": search}).fetchone()[0]
        return total, [snapshot_from_row(row) for row in rows]

    def count_usable_snapshots(self, vm_id: int) -> int:
        """Return the number of snapshots of the VM that a new one can build on."""
        return self._connection.execute(
            "SELECT count(*) FROM snapshots WHERE vm_id = ? AND outcome = 'SUCCESS'", (vm_id,)
        ).fetchone()[0]

    def add_snapshot(self, snapshot: Snapshot) -> int:
        """Add a snapshot and return its id; an id of 0 requests the next id."""
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
                to_micros(snapshot.started_at),
                snapshot.size_gb,
                snapshot.final_status,
            ),
        )
        return inserted.lastrowid or 0

    def delete_snapshot(self, snapshot_id: int) -> None:
        """Delete the snapshot and the image created from it."""
        self._connection.execute("DELETE FROM snapshots WHERE id = ?", (snapshot_id,))

    def add_image(self, image: Image) -> int:
        """Add an image, mark its snapshot as modified, and return the image's id."""
        created_at = to_micros(image.created_at)
        inserted = self._connection.execute(
            "INSERT INTO images (id, snapshot_id, name, labels, made) VALUES (?, ?, ?, ?, ?)",
            (image.id or None, image.snapshot_id, image.name, json.dumps(image.labels), created_at),
        )
        self._connection.execute(
            "UPDATE snapshots SET touched = ? WHERE id = ?", (created_at, image.snapshot_id)
        )
        return inserted.lastrowid or 0

    def delete_image(self, snapshot_id: int, now: datetime) -> None:
        """Delete the image of a snapshot, and mark the snapshot as modified."""
        self._connection.execute("DELETE FROM images WHERE snapshot_id = ?", (snapshot_id,))
        self._connection.execute(
            "UPDATE snapshots SET touched = ? WHERE id = ?", (to_micros(now), snapshot_id)
        )

    def list_snapshots_with_image(self) -> list[Snapshot]:
        """Return the snapshots that have an image, oldest image first."""
        rows = self._connection.execute(
            _SELECT_SNAPSHOTS + "WHERE images.id IS NOT NULL ORDER BY images.id"
        )
        return [snapshot_from_row(row) for row in rows]

    def add_event(self, kind: ResourceKind, resource_id: int, event: Event) -> None:
        """Add an event, whose time may be in the future."""
        self._connection.execute(
            "INSERT INTO events (kind, subject, at, type, reason, message)"
            " VALUES (?, ?, ?, ?, ?, ?)",
            (kind, resource_id, to_micros(event.time), event.type, event.reason, event.message),
        )

    def list_events(self, kind: ResourceKind, resource_id: int, now: datetime) -> list[Event]:
        """Return the events up to now, newest first."""
        rows = self._connection.execute(
            "SELECT id, at, type, reason, message FROM events"
            " WHERE kind = ? AND subject = ? AND at <= ? ORDER BY at DESC, id DESC",
            (kind, resource_id, to_micros(now)),
        )
        return [
            Event(from_micros(row["at"]), row["type"], row["reason"], row["message"], row["id"])
            for row in rows
        ]
