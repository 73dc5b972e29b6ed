"""The tables and indexes, one statement each.

`executescript` would commit the transaction in which a new database is created and seeded.
"""

SCHEMA_VERSION = 1

TABLES = (
    """CREATE TABLE catalogue (
        kind TEXT NOT NULL, id INTEGER NOT NULL, body TEXT NOT NULL, PRIMARY KEY (kind, id)
    ) WITHOUT ROWID""",
    # AUTOINCREMENT: the id of a deleted row must never be used again.
    """CREATE TABLE vms (
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
        snapshot_gb INTEGER NOT NULL DEFAULT 0
    )""",
    # No foreign key to vms: snapshots outlive their VM.
    """CREATE TABLE snapshots (
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
    )""",
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
    "CREATE INDEX events_of_subject ON events (kind, subject, at)",
)
