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
from snapshot_mcp.core.private_files import create_private_database, create_private_folder
from snapshot_mcp.sandbox import catalogue, lifecycle, schema
from snapshot_mcp.sandbox.entities import (
    Event,
    Image,
    Json,
    Snapshot,
    Vm,
    VmQuery,
    from_micros,
    snapshot_from_row,
    to_micros,
    vm_from_row,
)
from snapshot_mcp.sandbox.request import PageRequest

CatalogueKind = Literal["region", "environment", "image", "price", "credit"]
ResourceKind = Literal["snapshot", "virtual_machine"]
NamedKind = Literal["snapshot", "virtual_machine", "image", "environment"]

_BUSY_MILLISECONDS = 10_000

# An empty search matches every row. `instr` needs no escaping of % and _. The case-folded names
# ignore case in every alphabet, while LIKE does so for ASCII only.
_VM_FILTER = """(:search = '' OR instr(vms.folded, :search) > 0) AND (
    :environment IS NULL OR vms.environment = :environment
    OR (NOT :exact AND instr(lower(vms.environment), lower(:environment)) > 0)
) AND (:contract IS NULL OR vms.contract_id = :contract)"""
# Source: the vendor's documentation: search is a snapshot's id or name.
_SNAPSHOT_FILTER = (
    "(:search = '' OR instr(snapshots.folded, :search) > 0 OR CAST(snapshots.id AS TEXT) = :search)"
)

# With the resources whose deletion is in progress; only those of `deleted_` have a time.
_WITH_DELETING = """(
    SELECT *, NULL AS deleted FROM {table}
    UNION ALL SELECT * FROM deleted_{table} WHERE deleted > :gone
)"""

_SELECT_SNAPSHOTS = """
    SELECT snapshots.*, vms.born, vms.resting, vms.snapshot_began, vms.snapshot_gb,
        vms.power_phase, vms.power_began,
        images.id AS image_id, images.name AS image_name, images.labels AS image_labels, images.made
    FROM {source} AS snapshots
    LEFT JOIN images ON images.snapshot_id = snapshots.id
    LEFT JOIN vms ON vms.id = snapshots.vm_id
"""

_TABLES: dict[ResourceKind, str] = {"snapshot": "snapshots", "virtual_machine": "vms"}


def connect(database: Path) -> sqlite3.Connection:
    """Open the database file, creating it if necessary; the caller closes the connection."""
    create_private_folder(database.parent)
    create_private_database(database)
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
    if version:
        schema.upgrade(connection, version, catalogue.CREATED_AT)
        connection.execute(f"PRAGMA user_version = {schema.SCHEMA_VERSION}")
    else:
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

    def set_catalogue_item(self, kind: CatalogueKind, body: Json) -> None:
        """Add an item to the catalogue, or replace the one with its id."""
        self._connection.execute(
            "INSERT OR REPLACE INTO catalogue VALUES (?, ?, ?)",
            (kind, body["id"], json.dumps(body)),
        )

    def delete_catalogue_item(self, kind: CatalogueKind, item_id: int) -> None:
        """Delete an item of the catalogue."""
        statement = "DELETE FROM catalogue WHERE kind = ? AND id = ?"
        self._connection.execute(statement, (kind, item_id))

    def rename_environment(self, name: str, new_name: str) -> None:
        """Rename the environment of every VM in it."""
        self._connection.execute(
            "UPDATE vms SET environment = :new,"
            " config = json_set(config, '$.environment.name', :new) WHERE environment = :old",
            {"new": new_name, "old": name},
        )

    def name_exists(self, kind: NamedKind, name: str, now: datetime) -> bool:
        """Return whether a resource of this kind has the name, until its deletion is complete."""
        if kind == "environment":
            return any(item["name"] == name for item in self.catalogue_items("environment"))
        source = "images" if kind == "image" else _WITH_DELETING.format(table=_TABLES[kind])
        query = f"SELECT 1 FROM {source} WHERE name = :name"  # noqa: S608 - constants only
        values = {"name": name, "gone": _gone_before(now)}
        return self._connection.execute(query, values).fetchone() is not None

    def find_vm(self, vm_id: int, now: datetime) -> Vm | None:
        """Return the VM with this id, or None."""
        source = _WITH_DELETING.format(table="vms")
        row = self._connection.execute(
            f"SELECT * FROM {source} WHERE id = :id",  # noqa: S608 - constants only
            {"id": vm_id, "gone": _gone_before(now)},
        ).fetchone()
        return None if row is None else vm_from_row(row)

    def list_vms(self, query: VmQuery, page: PageRequest, now: datetime) -> tuple[int, list[Vm]]:
        """Return the number of matching VMs, and those of the page, oldest first."""
        filters = {**asdict(query), "gone": _gone_before(now)}
        matching = f"FROM {_WITH_DELETING.format(table='vms')} AS vms WHERE {_VM_FILTER}"
        rows = self._connection.execute(
            f"SELECT * {matching} ORDER BY born, id LIMIT :limit OFFSET :offset",
            {**filters, "limit": page.limit, "offset": page.offset},
        )
        total = self._connection.execute(f"SELECT count(*) {matching}", filters).fetchone()[0]
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

    def delete(self, kind: ResourceKind, resource_id: int, now: datetime) -> None:
        """Start the deletion of a VM, or of a snapshot and the image created from it."""
        table = _TABLES[kind]
        self._connection.execute(
            f"INSERT INTO deleted_{table} SELECT *, ? FROM {table} WHERE id = ?",  # noqa: S608 - constants only
            (to_micros(now), resource_id),
        )
        self._connection.execute(f"DELETE FROM {table} WHERE id = ?", (resource_id,))  # noqa: S608 - likewise

    def change_vm(self, vm: Vm) -> None:
        """Store the configuration, the labels and the power state of a VM."""
        times = vm.times
        began = None if times.power_started_at is None else to_micros(times.power_started_at)
        self._connection.execute(
            "UPDATE vms SET config = ?, labels = ?, resting = ?, power_phase = ?, power_began = ?"
            " WHERE id = ?",
            (
                json.dumps(asdict(vm.config)),
                json.dumps(vm.labels),
                times.idle_status,
                times.power_phase,
                began,
                vm.id,
            ),
        )

    def record_vm_snapshot(self, snapshot: Snapshot) -> None:
        """Record in the VM that a snapshot of it has started."""
        self._connection.execute(
            "UPDATE vms SET snapshot_began = ?, snapshot_gb = ?, power_phase = NULL WHERE id = ?",
            (to_micros(snapshot.started_at), snapshot.size_gb, snapshot.vm_id),
        )

    def find_snapshot(self, snapshot_id: int, now: datetime) -> Snapshot | None:
        """Return the snapshot with this id, or None."""
        select = _SELECT_SNAPSHOTS.format(source=_WITH_DELETING.format(table="snapshots"))
        row = self._connection.execute(
            select + "WHERE snapshots.id = :id", {"id": snapshot_id, "gone": _gone_before(now)}
        ).fetchone()
        return None if row is None else snapshot_from_row(row)

    def list_snapshots(
        self, search: str, page: PageRequest, now: datetime, *, with_deleted: bool = False
    ) -> tuple[int, list[Snapshot]]:
        """Return the number of matching snapshots, and those of the page, newest first.

        Args:
            search: the case-folded part of a name, or an id.
            page: the page.
            now: the current time.
            with_deleted: whether to include snapshots whose deletion is complete.
        """
        values = {"search": search, "gone": 0 if with_deleted else _gone_before(now)}
        # The index, which a union cannot use, makes pages fast while nothing is being deleted.
        deleting = "SELECT EXISTS (SELECT 1 FROM deleted_snapshots WHERE deleted > :gone)"
        (is_union,) = self._connection.execute(deleting, values).fetchone()
        plain = "(SELECT *, NULL AS deleted FROM snapshots)"
        source = _WITH_DELETING.format(table="snapshots") if is_union else plain
        rows = self._connection.execute(
            f"{_SELECT_SNAPSHOTS.format(source=source)} WHERE {_SNAPSHOT_FILTER}"
            " ORDER BY snapshots.began DESC, snapshots.id DESC LIMIT :limit OFFSET :offset",
            {**values, "limit": page.limit, "offset": page.offset},
        )
        count = f"SELECT count(*) FROM {source} AS snapshots WHERE {_SNAPSHOT_FILTER}"  # noqa: S608 - constants only
        total = self._connection.execute(count, values).fetchone()[0]
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
        select = _SELECT_SNAPSHOTS.format(source="(SELECT *, NULL AS deleted FROM snapshots)")
        rows = self._connection.execute(select + "WHERE images.id IS NOT NULL ORDER BY images.id")
        return [snapshot_from_row(row) for row in rows]

    def snapshot_name(self, snapshot_id: int) -> str | None:
        """Return the name of a snapshot, which may be deleted."""
        row = self._connection.execute(
            "SELECT name FROM snapshots WHERE id = :id"
            " UNION ALL SELECT name FROM deleted_snapshots WHERE id = :id",
            {"id": snapshot_id},
        ).fetchone()
        return None if row is None else row["name"]

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


def _gone_before(now: datetime) -> int:
    """Return the latest start of a deletion that is complete."""
    return to_micros(now - lifecycle.DELETION_DURATION)
