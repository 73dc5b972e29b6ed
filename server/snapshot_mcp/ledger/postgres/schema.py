"""The schema of the PostgreSQL ledger: creation, and verification of its tables and triggers."""

from typing import LiteralString, cast

from psycopg import Connection

from snapshot_mcp.core.errors import NOTHING_CHANGED, LedgerError

SCHEMA_NAME = "snapshot_mcp"

_SCHEMA_VERSION = 2
_LOCK_CREATION: LiteralString = "SELECT pg_advisory_xact_lock(hashtext('snapshot-mcp'), 1)"
_SCHEMA: tuple[LiteralString, ...] = (
    # Compare bytes: the collation of a language may order timestamps differently.
    """CREATE TABLE attempts (
    id bigint PRIMARY KEY,
    at text COLLATE "C" NOT NULL,
    event text COLLATE "C" NOT NULL,
    attempt text COLLATE "C" NOT NULL,
    tool text COLLATE "C" NOT NULL,
    target bigint NOT NULL,
    arguments text COLLATE "C" NOT NULL,
    principal text COLLATE "C" NOT NULL,
    client text COLLATE "C" NOT NULL,
    evidence text COLLATE "C" NOT NULL,
    reason text COLLATE "C" NOT NULL,
    owner text COLLATE "C" NOT NULL,
    previous text COLLATE "C" NOT NULL,
    hash text COLLATE "C" NOT NULL
)""",
    "CREATE UNIQUE INDEX one_sent_row_an_attempt ON attempts (attempt) WHERE event = 'sent'",
    "CREATE INDEX attempts_by_attempt ON attempts (attempt)",
    "CREATE INDEX sent_by_tool_and_time ON attempts (tool, at) WHERE event = 'sent'",
    "CREATE TABLE counter (version integer NOT NULL, last bigint NOT NULL)",
    "INSERT INTO counter VALUES (1, 0)",  # the version of these statements
    """CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS
    'BEGIN RAISE EXCEPTION ''the ledger is append-only''; END'""",
    """CREATE TRIGGER attempts_are_kept BEFORE UPDATE OR DELETE OR TRUNCATE ON attempts
    FOR EACH STATEMENT EXECUTE FUNCTION refuse()""",
    """CREATE TRIGGER counter_is_kept BEFORE INSERT OR DELETE OR TRUNCATE ON counter
    FOR EACH STATEMENT EXECUTE FUNCTION refuse()""",
    """CREATE TRIGGER counter_only_grows BEFORE UPDATE ON counter
    FOR EACH ROW WHEN (NEW.last <= OLD.last) EXECUTE FUNCTION refuse()""",
)
_ADD_MACS: tuple[LiteralString, ...] = (
    # Replicas of version 1 cannot insert rows any more, because these would have no MAC.
    """ALTER TABLE attempts ADD COLUMN mac text COLLATE "C" NOT NULL DEFAULT ''""",
    "ALTER TABLE attempts ALTER COLUMN mac DROP DEFAULT",
    """ALTER TABLE counter ADD COLUMN hash text COLLATE "C" NOT NULL DEFAULT '',
    ADD COLUMN mac text COLLATE "C" NOT NULL DEFAULT ''""",
    "ALTER TABLE counter DISABLE TRIGGER counter_only_grows",
    "UPDATE counter SET version = 2",
    "ALTER TABLE counter ENABLE TRIGGER counter_only_grows",
)
# Not to_regclass: it does not see what another transaction created while this one waited.
_HAS_TABLES: LiteralString = """SELECT EXISTS (
    SELECT FROM pg_catalog.pg_tables WHERE schemaname = 'snapshot_mcp' AND tablename = 'counter')"""
_HAS_MACS: LiteralString = """SELECT EXISTS (SELECT FROM pg_attribute
    JOIN pg_class ON pg_class.oid = attrelid JOIN pg_namespace ON pg_namespace.oid = relnamespace
    WHERE nspname = 'snapshot_mcp' AND relname = 'counter' AND attname = 'mac'
    AND NOT attisdropped)"""
# The SQL text in the catalog differs between versions of PostgreSQL; these properties do not.
_DEFINITIONS: LiteralString = """
    SELECT 'table', relname::text,
        string_agg(concat_ws(' ', attname, atttypid::regtype, attnotnull), ',' ORDER BY attnum)
    FROM pg_class JOIN pg_attribute ON attrelid = pg_class.oid AND attnum > 0 AND NOT attisdropped
    WHERE relnamespace = current_schema()::regnamespace AND relkind = 'r'
        AND relname !~ '^ratelimit'
    GROUP BY relname
    UNION ALL
    SELECT 'index', indexrelid::regclass::text,
        concat_ws(' ', indisunique, indisvalid, pg_get_expr(indpred, indrelid), (
            SELECT string_agg(attname, ',' ORDER BY attnum) FROM pg_attribute
            WHERE attrelid = indexrelid))
    FROM pg_index JOIN pg_class ON pg_class.oid = indrelid
    WHERE relnamespace = current_schema()::regnamespace AND relname !~ '^ratelimit'
    UNION ALL
    SELECT 'trigger', tgname::text, concat_ws(' ', relname, tgtype, tgenabled, proname, prosrc,
        tgqual IS NOT NULL)
    FROM pg_trigger JOIN pg_class ON pg_class.oid = tgrelid JOIN pg_proc ON pg_proc.oid = tgfoid
    WHERE relnamespace = current_schema()::regnamespace AND NOT tgisinternal"""


def create_tables(connection: Connection) -> None:
    """Create the schema and its tables, or migrate them; safe to call concurrently.

    Raises:
        LedgerError: they belong to a newer version.
    """
    if not has_macs(connection):
        with connection.transaction():
            connection.execute(_LOCK_CREATION)
            if not has_tables(connection):
                connection.execute(f"CREATE SCHEMA IF NOT EXISTS {SCHEMA_NAME}")
                for statement in _SCHEMA:
                    connection.execute(statement)
            if not has_macs(connection):
                for statement in _ADD_MACS:
                    connection.execute(statement)
    row = connection.execute("SELECT version FROM counter").fetchone()
    if row is not None and row[0] > _SCHEMA_VERSION:
        raise LedgerError(
            "The ledger was written by a newer version of snapshot-mcp.",
            f"{NOTHING_CHANGED} Use that version, or another database.",
        )


def has_tables(connection: Connection) -> bool:
    """Return whether the ledger was ever used."""
    row = connection.execute(_HAS_TABLES).fetchone()
    return row is not None and bool(row[0])


def has_macs(connection: Connection) -> bool:
    """Return whether the tables exist, and have columns for MACs."""
    row = connection.execute(_HAS_MACS).fetchone()
    return row is not None and bool(row[0])


def find_schema_problems(connection: Connection) -> list[str]:
    """Return one sentence for each table, index or trigger that was altered."""
    found = set(cast("list[tuple[str, str, str]]", connection.execute(_DEFINITIONS).fetchall()))
    expected = _EXPECTED if has_macs(connection) else _EXPECTED_WITHOUT_MACS
    missing = sorted((kind, name) for kind, name, _ in expected - found)
    problems = [f"The {kind} {name} is missing or was altered." for kind, name in missing]
    foreign = {name for _, name, _ in found} - {name for _, name, _ in expected}
    if foreign:
        problems.append(f"{len(foreign)} tables, indexes or triggers do not belong to the ledger.")
    return problems


_BODY = "BEGIN RAISE EXCEPTION 'the ledger is append-only'; END"
_COLUMNS_OF_ATTEMPTS = (
    "id bigint t,at text t,event text t,attempt text t,tool text t,target bigint t,"
    "arguments text t,principal text t,client text t,evidence text t,reason text t,"
    "owner text t,previous text t,hash text t"
)
_COLUMNS_OF_COUNTER = "version integer t,last bigint t"
_EXPECTED_OTHERS = {
    ("index", "attempts_pkey", "t t id"),
    ("index", "one_sent_row_an_attempt", "t t (event = 'sent'::text) attempt"),
    ("index", "attempts_by_attempt", "f t attempt"),
    ("index", "sent_by_tool_and_time", "f t (event = 'sent'::text) tool,at"),
    ("trigger", "attempts_are_kept", f"attempts 58 O refuse {_BODY} f"),
    ("trigger", "counter_is_kept", f"counter 46 O refuse {_BODY} f"),
    ("trigger", "counter_only_grows", f"counter 19 O refuse {_BODY} t"),
}
_EXPECTED_WITHOUT_MACS = _EXPECTED_OTHERS | {
    ("table", "attempts", _COLUMNS_OF_ATTEMPTS),
    ("table", "counter", _COLUMNS_OF_COUNTER),
}
_EXPECTED = _EXPECTED_OTHERS | {
    ("table", "attempts", f"{_COLUMNS_OF_ATTEMPTS},mac text t"),
    ("table", "counter", f"{_COLUMNS_OF_COUNTER},hash text t,mac text t"),
}
