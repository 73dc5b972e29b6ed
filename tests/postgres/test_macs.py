"""Attacks by an administrator of the database who does not have the signing key."""

from pathlib import Path
from typing import LiteralString

import psycopg
import pytest
from pydantic import SecretBytes

from snapshot_mcp.core.errors import LedgerError, RefusedError
from snapshot_mcp.ledger.base import Ledger
from snapshot_mcp.ledger.chain import FIRST_PREVIOUS_HASH, Row, link_row
from snapshot_mcp.ledger.postgres.store import PostgresStore
from snapshot_mcp.settings.signing_key import SigningKey
from tests.postgres.shared_database import ATTEMPT, SharedDatabase, now

pytestmark = pytest.mark.postgres

ROWS = 5
MARK_LAST_ROW: LiteralString = """UPDATE counter SET last = (SELECT max(id) FROM attempts),
    hash = (SELECT hash FROM attempts ORDER BY id DESC LIMIT 1)"""
REMOVE_MACS: LiteralString = "UPDATE attempts SET mac = ''"
HARMLESS: tuple[tuple[LiteralString, ...], ...] = (
    (REMOVE_MACS,),
    ("UPDATE attempts SET mac = '' WHERE id = 5",),
)


async def fill(shared: SharedDatabase) -> None:
    ledger = shared.ledger()
    for number in range(ROWS):
        await ledger.record("planned", ATTEMPT._replace(id=f"plan-{number}"))
    assert await ledger.verify() == []


@pytest.mark.parametrize(
    "statements",
    [
        ("DELETE FROM attempts WHERE id > 3", "UPDATE counter SET last = 3"),
        ("DELETE FROM attempts WHERE id > 3", MARK_LAST_ROW),
        ("UPDATE counter SET mac = ''",),
        ("UPDATE counter SET hash = '', mac = ''",),
        HARMLESS[0],
        (REMOVE_MACS, "UPDATE counter SET mac = ''"),
        HARMLESS[1],
        ("UPDATE attempts SET mac = (SELECT mac FROM attempts WHERE id = 1) WHERE id = 5",),
    ],
    ids=" and ".join,
)
async def test_tampering_with_rows_counter_and_macs_is_reported_and_stops_plans(
    shared: SharedDatabase, statements: tuple[LiteralString, ...]
) -> None:
    await fill(shared)
    shared.tamper(*statements)
    # The MAC of the mark protects the last row too, and so all rows.
    has_all_rows = statements in HARMLESS
    assert (await shared.ledger().verify() == []) == (statements == HARMLESS[0])
    if not has_all_rows:
        with pytest.raises(RefusedError, match=r"lost its last rows|with the signing key"):
            await shared.ledger().record("planned", ATTEMPT._replace(id="new"))


async def test_a_chain_that_was_computed_again_is_reported(shared: SharedDatabase) -> None:
    await fill(shared)
    rows = await shared.ledger().rows()
    previous = FIRST_PREVIOUS_HASH
    forged: list[Row] = []
    for row in rows:
        changed = row._replace(principal="else") if row.id == 2 else row
        forged.append(link_row(changed, row.id, previous))
        previous = forged[-1].hash
    with psycopg.connect(shared.server.url(shared.name, user="admin")) as connection:
        connection.execute("SET search_path = snapshot_mcp")
        connection.execute("SET session_replication_role = replica")
        for row in forged:
            connection.execute(
                "UPDATE attempts SET principal = %s, previous = %s, hash = %s WHERE id = %s",
                (row.principal, row.previous, row.hash, row.id),
            )
        connection.execute(MARK_LAST_ROW)
    problems = await shared.ledger().verify()
    assert [problem.split(":")[0] for problem in problems] == [
        "Rows 2 to 5",
        "The MAC of the ledger's mark does not fit",
    ]


async def test_replicas_with_different_keys_do_not_change_anything_together(
    shared: SharedDatabase,
) -> None:
    await fill(shared)
    other = SigningKey(SecretBytes(b"o" * 32), Path())
    ledger = Ledger(PostgresStore(shared.database()), now, other)
    for event in ("planned", "sent"):
        with pytest.raises(RefusedError, match="Servers that share a ledger must share"):
            await ledger.record(event, ATTEMPT._replace(id="new", plan=""))
    assert len(await ledger.rows()) == ROWS
    await shared.ledger().record("planned", ATTEMPT._replace(id="new"))


async def test_replicas_of_the_earlier_version_cannot_add_rows_without_macs(
    shared: SharedDatabase,
) -> None:
    await fill(shared)
    with (
        psycopg.connect(shared.url) as connection,
        pytest.raises(psycopg.errors.NotNullViolation),
    ):
        connection.execute(
            """INSERT INTO snapshot_mcp.attempts SELECT id + 1, at, event, attempt || 'x', tool,
            target, arguments, principal, client, evidence, reason, owner, previous, hash
            FROM snapshot_mcp.attempts ORDER BY id DESC LIMIT 1"""
        )


async def test_an_old_ledger_that_its_user_cannot_migrate_is_reported(
    shared: SharedDatabase,
) -> None:
    await fill(shared)
    shared.tamper(
        "ALTER TABLE attempts DROP COLUMN mac",
        "ALTER TABLE counter DROP COLUMN mac, DROP COLUMN hash",
        "UPDATE counter SET version = 1",
        "ALTER TABLE attempts OWNER TO admin",
        "GRANT SELECT ON attempts TO PUBLIC",
    )
    assert await shared.ledger().verify() == []
    with pytest.raises(LedgerError, match="its user can create and write the schema"):
        await shared.ledger().record("planned", ATTEMPT)
