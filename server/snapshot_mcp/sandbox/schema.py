"""The tables and indexes, one statement each, and the changes since earlier versions.

`executescript` would commit the transaction in which a new database is created and seeded.
"""

import json
import re
import sqlite3

SCHEMA_VERSION = 2

_VM_COLUMNS = """
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    name TEXT NOT NULL UNIQUE,
    folded TEXT NOT NULL,
    environment TEXT NOT NULL,
    config TEXT NOT NULL,
    labels TEXT NOT NULL,
    floating_ip TEXT,
    contract_id INTEGER,
    resting TEXT NOT NULL,
    born INTEGER NOT NULL,
    snapshot_began INTEGER,
    snapshot_gb INTEGER NOT NULL DEFAULT 0,
    power_phase TEXT,
    power_began INTEGER
"""
_SNAPSHOT_COLUMNS = """
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    name TEXT NOT NULL UNIQUE,
    folded TEXT NOT NULL,
    description TEXT NOT NULL,
    labels TEXT NOT NULL,
    vm_id INTEGER NOT NULL,
    vm_name TEXT NOT NULL,
    config TEXT NOT NULL,
    has_floating_ip INTEGER NOT NULL,
    began INTEGER NOT NULL,
    gigabytes INTEGER NOT NULL,
    outcome TEXT NOT NULL,
    touched INTEGER
"""
# Rows move to these tables when a deletion is accepted. They are shown as DELETING for a moment,
# and are kept for the billing history.
_DELETED_TABLES = tuple(
    f"CREATE TABLE deleted_{table} ({columns.replace(' UNIQUE', '')}, deleted INTEGER NOT NULL)"
    for table, columns in (("vms", _VM_COLUMNS), ("snapshots", _SNAPSHOT_COLUMNS))
)

TABLES = (
    """CREATE TABLE catalogue (
        kind TEXT NOT NULL, id INTEGER NOT NULL, body TEXT NOT NULL, PRIMARY KEY (kind, id)
    ) WITHOUT ROWID""",
    # AUTOINCREMENT: the id of a deleted row must never be used again.
    f"CREATE TABLE vms ({_VM_COLUMNS})",
    # No foreign key to vms: snapshots outlive their VM.
    f"CREATE TABLE snapshots ({_SNAPSHOT_COLUMNS})",
    "CREATE INDEX snapshots_newest ON snapshots (began DESC, id DESC)",
    "CREATE INDEX snapshots_of_vm ON snapshots (vm_id, outcome)",
    """CREATE TABLE images (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        snapshot_id INTEGER NOT NULL UNIQUE REFERENCES snapshots (id) ON DELETE CASCADE,
        name TEXT NOT NULL UNIQUE,
        labels TEXT NOT NULL,
        made INTEGER NOT NULL
    )""",
    """CREATE TABLE events (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        kind TEXT NOT NULL,
        subject INTEGER NOT NULL,
        at INTEGER NOT NULL,
        type TEXT NOT NULL,
        reason TEXT NOT NULL,
        message TEXT NOT NULL
    )""",
    *_DELETED_TABLES,
    "CREATE INDEX events_of_subject ON events (kind, subject, at)",
)

_BARE_TIME = re.compile(r'(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)"')


def upgrade(connection: sqlite3.Connection, version: int, image_created_at: str) -> None:
    """Change a database of an earlier version to the current one.

    Args:
        connection: the connection, within a transaction.
        version: the version of the database.
        image_created_at: the creation time of public images, which version 1 did not store.
    """
    if version < 2:  # noqa: PLR2004 - the version that these statements lead to
        connection.execute("ALTER TABLE vms ADD COLUMN power_phase TEXT")
        connection.execute("ALTER TABLE vms ADD COLUMN power_began INTEGER")
        for statement in _DELETED_TABLES:
            connection.execute(statement)
        _rewrite(connection, "catalogue", "body", image_created_at)
        _rewrite(connection, "vms", "config", image_created_at)
        _rewrite(connection, "snapshots", "config", image_created_at)


def _rewrite(
    connection: sqlite3.Connection, table: str, column: str, image_created_at: str
) -> None:
    """Give all times of a JSON column a time zone, and images a creation time."""
    key = "kind, id" if table == "catalogue" else "id"
    for *identity, text in connection.execute(f"SELECT {key}, {column} FROM {table}").fetchall():  # noqa: S608 - constants only
        body = json.loads(_BARE_TIME.sub(r'\1Z"', text))
        image = body if "display_size" in body else body.get("image")
        if image is not None:
            image.setdefault("created_at", image_created_at)
        where = " AND ".join(f"{name} = ?" for name in key.split(", "))
        connection.execute(
            f"UPDATE {table} SET {column} = ? WHERE {where}",  # noqa: S608 - constants only
            (json.dumps(body), *identity),
        )
