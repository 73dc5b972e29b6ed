"""The rights of the database user, and the grants in docs/deploy.md."""

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
from tests.postgres.shared_database import ATTEMPT, KEY, SharedDatabase, now

pytestmark = pytest.mark.postgres

PAGE = Path(__file__).parents[2] / "docs/deploy.md"
(GRANTS,) = re.findall(r"```sql\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)


async def test_a_user_who_cannot_create_the_schema_learns_what_is_missing(
    shared: SharedDatabase,
) -> None:
    shared.server.execute_as_admin(
        "CREATE ROLE {} LOGIN PASSWORD 'x'", role := f"role_{shared.name}"
    )
    database = Database(shared.server.url(shared.name, user=role, password="x"))  # noqa: S106 - created here
    ledger = Ledger(PostgresStore(database), now, KEY)
    with pytest.raises(LedgerError, match="its user can create and write the schema snapshot_mcp"):
        await ledger.record("planned", ATTEMPT)
    ledger.close()
    database.close()


async def test_the_documented_grants_suffice_and_allow_no_change_of_rows(
    shared: SharedDatabase,
) -> None:
    await shared.ledger().record("planned", ATTEMPT)  # the owner creates the tables
    shared.server.execute_as_admin(
        "CREATE ROLE {} LOGIN PASSWORD 'x'", role := f"role_{shared.name}"
    )
    with psycopg.connect(shared.url) as connection:
        connection.execute(re.sub(r"\bteam\b", role, GRANTS).encode())
    url = shared.server.url(shared.name, user=role, password="x")  # noqa: S106 - created here
    with open_ledger_backend(None, SecretStr(url), now, KEY) as backend:  # pyright: ignore[reportArgumentType] - no folder is touched
        await backend.ledger.record("sent", ATTEMPT, rate_limit=RateLimit(5, 3_600))
        async with backend.change_lock():
            assert backend.rate_limiter is not None
            assert await backend.rate_limiter.try_acquire("reads", "alice") == 0
            assert await backend.rate_limiter.try_acquire("all", "alice") == 0
            assert await backend.rate_limiter.seconds_until_share("alice") == 0
        await backend.ledger.record("done", ATTEMPT)
        assert await backend.ledger.unsettled() == []
        assert await backend.ledger.verify() == []
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
