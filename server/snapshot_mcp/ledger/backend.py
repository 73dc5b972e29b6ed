"""The state that a server keeps: in files of this machine, or in a database that replicas share."""

from collections.abc import Callable, Generator
from contextlib import AbstractAsyncContextManager, contextmanager
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from pydantic import SecretStr

from snapshot_mcp.ledger.base import Ledger
from snapshot_mcp.settings.environment import LEDGER_FILE
from snapshot_mcp.settings.signing_key import SigningKey

if TYPE_CHECKING:
    from snapshot_mcp.cloud.rate_limit import RateLimiter

CHANGE_LOCK_FILE = "change-lock.db"


class LedgerBackend(NamedTuple):
    """The ledger, and the lock and the rate limit of all processes that share it.

    Attributes:
        ledger: every attempt.
        change_lock: opens a lock that one process or replica at a time holds.
        rate_limiter: limits the requests of all replicas together; None without replicas.
    """

    ledger: Ledger
    change_lock: Callable[[], AbstractAsyncContextManager[None]]
    rate_limiter: "RateLimiter | None"


@contextmanager
def open_ledger_backend(
    folder: Path,
    database_url: SecretStr | None,
    now: Callable[[], datetime],
    key: SigningKey | None = None,
) -> Generator[LedgerBackend]:
    """Open the backend and close it at the end. Nothing is created or connected before first use.

    Args:
        folder: the data folder.
        database_url: the database that replicas share; None to use files in `folder`.
        now: returns the current time, for the rows.
        key: the signing key; None for the one in `folder`.
    """
    key = key or SigningKey(None, folder)
    if database_url is None:
        yield from _open_local(folder, now, key)
    else:
        yield from _open_shared(database_url, now, key)


def _open_local(
    folder: Path, now: Callable[[], datetime], key: SigningKey
) -> Generator[LedgerBackend]:
    from snapshot_mcp.ledger.file_change_lock import FileChangeLock  # noqa: PLC0415 - as below
    from snapshot_mcp.ledger.sqlite import open_sqlite_ledger  # noqa: PLC0415 - only one is needed

    ledger = open_sqlite_ledger(folder / LEDGER_FILE, now, key)
    try:
        yield LedgerBackend(ledger, FileChangeLock(folder / CHANGE_LOCK_FILE).hold, None)
    finally:
        ledger.close()


def _open_shared(
    database_url: SecretStr, now: Callable[[], datetime], key: SigningKey
) -> Generator[LedgerBackend]:
    from snapshot_mcp.ledger.postgres.change_lock import ChangeLock  # noqa: PLC0415 - as above
    from snapshot_mcp.ledger.postgres.database import Database  # noqa: PLC0415 - as above
    from snapshot_mcp.ledger.postgres.rate_limit import SharedRateLimiter  # noqa: PLC0415 - as above
    from snapshot_mcp.ledger.postgres.store import PostgresStore  # noqa: PLC0415 - as above

    database = Database(database_url.get_secret_value())
    ledger, change_lock = Ledger(PostgresStore(database), now, key), ChangeLock(database)
    try:
        yield LedgerBackend(ledger, change_lock.hold, SharedRateLimiter(database))
    finally:
        ledger.close()
        change_lock.close()
        database.close()
