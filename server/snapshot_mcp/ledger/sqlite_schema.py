"""The schema of the SQLite ledger: creation, migration of earlier versions, verification."""

import sqlite3
from contextlib import closing

from snapshot_mcp.core.errors import NOTHING_CHANGED, LedgerError
from snapshot_mcp.ledger.chain import FIRST_PREVIOUS_HASH, Row, link_row

SCHEMA_VERSION = 3
_VERSION_WITHOUT_MACS = 2
COLUMNS = ", ".join(Row._fields)
INSERT = f"INSERT INTO attempts ({COLUMNS}) VALUES ({', '.join('?' * len(Row._fields))})"  # noqa: S608 - our own column names

_SCHEMA = (
    """CREATE TABLE attempts (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    at TEXT NOT NULL,
    event TEXT NOT NULL,
    attempt TEXT NOT NULL,
    tool TEXT NOT NULL,
    target INTEGER NOT NULL,
    arguments TEXT NOT NULL,
    principal TEXT NOT NULL,
    client TEXT NOT NULL,
    evidence TEXT NOT NULL,
    reason TEXT NOT NULL,
    owner TEXT NOT NULL,
    previous TEXT NOT NULL,
    hash TEXT NOT NULL
)""",
    """CREATE UNIQUE INDEX one_sent_row_an_attempt ON attempts (attempt)
    WHERE event = 'sent'""",
    "CREATE INDEX attempts_by_attempt ON attempts (attempt)",
    "CREATE INDEX sent_by_tool_and_time ON attempts (tool, at) WHERE event = 'sent'",
    """CREATE TRIGGER attempts_are_not_updated BEFORE UPDATE ON attempts
    BEGIN SELECT RAISE(ABORT, 'the ledger is append-only'); END""",
    """CREATE TRIGGER attempts_are_not_deleted BEFORE DELETE ON attempts
    BEGIN SELECT RAISE(ABORT, 'the ledger is append-only'); END""",
)
_ADD_MACS = "ALTER TABLE attempts ADD COLUMN mac TEXT NOT NULL DEFAULT ''"
_DEFINITIONS = "SELECT type, name, sql FROM sqlite_master WHERE name NOT GLOB 'sqlite_*'"
_VERSION_1_ROWS = """SELECT 0, at, event, attempt, tool, target, arguments, principal, '', evidence,
    reason, '', '', '' FROM attempts ORDER BY id"""


def ensure_schema(connection: sqlite3.Connection) -> None:
    """Create the tables or migrate them; does nothing if they are current.

    Raises:
        LedgerError: they belong to a newer version.
    """
    if _version(connection) == SCHEMA_VERSION:
        return
    connection.execute("BEGIN IMMEDIATE")
    with connection:
        if _version(connection) == SCHEMA_VERSION:
            return  # another process did it in the meantime
        columns = {column[1] for column in connection.execute("PRAGMA table_info(attempts)")}
        if "hash" not in columns:
            _rebuild(connection, has_version_1=bool(columns))
        elif "mac" not in columns:
            connection.execute(_ADD_MACS)
        connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")


def find_schema_problems(connection: sqlite3.Connection) -> list[str]:
    """Return one sentence for each table, index or trigger that was altered.

    Raises:
        LedgerError: the schema belongs to a newer version.
    """
    found: set[tuple[str, str, str]] = set(connection.execute(_DEFINITIONS))
    version = _version(connection)
    if version < _VERSION_WITHOUT_MACS:
        if not found and version == 0:
            return []  # the first use ended before it created the tables
        return ["The ledger has the format of an older version; starting the server migrates it."]
    own = _own_definitions(has_macs=version == SCHEMA_VERSION)
    missing = sorted((kind, name) for kind, name, _ in own - found)
    problems = [f"The {kind} {name} is missing or was altered." for kind, name in missing]
    foreign = {name for _, name, _ in found} - {name for _, name, _ in own}
    if foreign:
        problems.append(f"{len(foreign)} tables, indexes or triggers do not belong to the ledger.")
    return problems


def has_chain(connection: sqlite3.Connection, problems: list[str]) -> bool:
    """Return whether the rows can be read as a chain, considering the schema's problems."""
    return _version(connection) >= _VERSION_WITHOUT_MACS and not any(
        " table attempts " in problem for problem in problems
    )


def stored_columns(connection: sqlite3.Connection) -> str:
    """Return the columns of a row; those of an earlier version have no MAC."""
    return COLUMNS if _version(connection) == SCHEMA_VERSION else COLUMNS.removesuffix(", mac")


def mark_key(connection: sqlite3.Connection) -> int:
    """Return the key of this ledger's high-water mark; 0 if none was ever kept beside it."""
    return connection.execute("PRAGMA application_id").fetchone()[0]


def set_mark_key(connection: sqlite3.Connection, key: int) -> None:
    """Store the key of this ledger's high-water mark, unless it is stored already."""
    if mark_key(connection) != key:
        connection.execute(f"PRAGMA application_id = {key:d}")


def _version(connection: sqlite3.Connection) -> int:
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if version > SCHEMA_VERSION:
        raise LedgerError(
            "The ledger was written by a newer version of snapshot-mcp.",
            f"{NOTHING_CHANGED} Use that version, or another data folder.",
        )
    return version


def _rebuild(connection: sqlite3.Connection, *, has_version_1: bool) -> None:
    old: list[Row] = []
    if has_version_1:
        old = [Row(*row) for row in connection.execute(_VERSION_1_ROWS)]
        connection.execute("DROP TABLE attempts")
    for statement in (*_SCHEMA, _ADD_MACS):
        connection.execute(statement)
    previous = FIRST_PREVIOUS_HASH
    for row_id, row in enumerate(old, 1):
        linked = link_row(row, row_id, previous)
        connection.execute(INSERT, linked)
        previous = linked.hash


def _own_definitions(*, has_macs: bool) -> set[tuple[str, str, str]]:
    with closing(sqlite3.connect(":memory:")) as connection:
        for statement in (*_SCHEMA, *([_ADD_MACS] if has_macs else [])):
            connection.execute(statement)
        return set(connection.execute(_DEFINITIONS))
