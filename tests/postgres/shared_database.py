"""One database and the replicas that share it."""

import secrets
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import LiteralString

import psycopg
from pydantic import SecretBytes

from snapshot_mcp.ledger.base import Ledger
from snapshot_mcp.ledger.chain import Attempt
from snapshot_mcp.ledger.postgres.database import Database
from snapshot_mcp.ledger.postgres.store import PostgresStore
from snapshot_mcp.settings.signing_key import SigningKey
from tests.postgres.server import Server

ATTEMPT = Attempt("plan-1", "delete_snapshot", 1701, {"name": "a"}, "local", "form", "Claude")

KEY = SigningKey(SecretBytes(b"k" * 32), Path())


def now() -> datetime:
    return datetime.now(UTC)


class SharedDatabase:
    """One database and the replicas that share it."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.name = f"shared_{secrets.token_hex(8)}"
        self.url = server.create_database(self.name)
        self._stack = ExitStack()

    def database(self) -> Database:
        database = Database(self.url)
        self._stack.callback(database.close)
        return database

    def ledger(self) -> Ledger:
        ledger = Ledger(PostgresStore(self.database()), now, KEY)
        self._stack.callback(ledger.close)
        return ledger

    def close(self) -> None:
        self._stack.close()

    def tamper(self, *statements: LiteralString) -> None:
        """Tamper with the rows as a superuser, with triggers disabled."""
        with psycopg.connect(self.server.url(self.name, user="admin")) as connection:
            connection.execute("SET search_path = snapshot_mcp")
            connection.execute("SET session_replication_role = replica")
            for statement in statements:
                connection.execute(statement)
