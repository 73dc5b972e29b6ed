"""What the user of the database may do, and what docs/deploy.md says that it must."""

import re
from pathlib import Path

import psycopg
import pytest
from pydantic import SecretStr

from snapshot_mcp.core.errors import LedgerError
from snapshot_mcp.ledger.backend import open_ledger_backend
from snapshot_mcp.ledger.base import Ledger
from snapshot_mcp.ledger.chain import RateLimit
from snapshot_mcp.ledger.postgres.database import Database
from snapshot_mcp.ledger.postgres.store import PostgresStore
from tests.postgres.shared import ATTEMPT, Shared, now

pytestmark = pytest.mark.postgres

PAGE = Path(__file__).parents[2] / "docs/deploy.md"
(GRANTS,) = re.findall(r"```sql\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)


async def test_a_user_who_may_make_no_schema_is_told_what_is_missing(shared: Shared) -> None:
    shared.server.command("CREATE ROLE {} LOGIN PASSWORD 'x'", role := f"role_{shared.name}")
    database = Database(shared.server.url(shared.name, user=role, password="x"))  # noqa: S106 - made here
    ledger = Ledger(PostgresStore(database), now)
    with pytest.raises(LedgerError, match="its user can create and write the schema snapshot_mcp"):
        await ledger.record("planned", ATTEMPT)
    ledger.close()
    database.close()


async def test_the_rights_that_the_page_grants_are_enough_and_change_no_row(
    shared: Shared,
) -> None:
    await shared.ledger().record("planned", ATTEMPT)  # its owner makes the tables
    shared.server.command("CREATE ROLE {} LOGIN PASSWORD 'x'", role := f"role_{shared.name}")
    with psycopg.connect(shared.url) as connection:
        connection.execute(re.sub(r"\bteam\b", role, GRANTS).encode())
    url = shared.server.url(shared.name, user=role, password="x")  # noqa: S106 - made here
    with open_ledger_backend(None, SecretStr(url), now) as records:  # pyright: ignore[reportArgumentType] - no folder is touched
        await records.ledger.record("sent", ATTEMPT, rate_limit=RateLimit(5, 3_600))
        async with records.change_lock():
            assert records.rate_limiter is not None
            assert await records.rate_limiter.try_acquire("reads") == 0
            assert await records.rate_limiter.try_acquire("all") == 0
        await records.ledger.record("done", ATTEMPT)
        assert await records.ledger.unsettled() == []
        assert await records.ledger.verify() == []
    for statement in (
        "ALTER TABLE snapshot_mcp.attempts DISABLE TRIGGER attempts_are_kept",
        "DROP INDEX snapshot_mcp.one_sent_row_an_attempt",
        "UPDATE snapshot_mcp.attempts SET reason = 'x'",
        "DELETE FROM snapshot_mcp.attempts",
        "TRUNCATE snapshot_mcp.attempts",
        "DROP SCHEMA snapshot_mcp CASCADE",
    ):
        with (
            psycopg.connect(url) as connection,
            pytest.raises(psycopg.errors.InsufficientPrivilege),
        ):
            connection.execute(statement)
