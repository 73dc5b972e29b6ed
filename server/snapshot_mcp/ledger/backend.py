"""Where the records are kept: in a file of this machine, or in the database that replicas share."""

from collections.abc import Callable, Generator
from contextlib import AbstractAsyncContextManager, contextmanager, nullcontext
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from pydantic import SecretStr

from snapshot_mcp.ledger.base import Ledger
from snapshot_mcp.settings.environment import LEDGER_FILE

if TYPE_CHECKING:
    from snapshot_mcp.cloud.rate_limit import RateLimiter


class LedgerBackend(NamedTuple):
    """What is kept, and what is held across all who keep it together.

    Attributes:
        ledger: every attempt.
        alone: held by one of them at a time.
        allowance: what all of them together may send; None where there is nobody else.
    """

    ledger: Ledger
    change_lock: Callable[[], AbstractAsyncContextManager[None]]
    rate_limiter: "RateLimiter | None"


@contextmanager
def open_ledger_backend(
    folder: Path, database_url: SecretStr | None, now: Callable[[], datetime]
) -> Generator[LedgerBackend]:
    """The records, closed at the end. Nothing is made or reached for before the first use.

    Args:
        folder: the data folder.
        database_url: the database that replicas share, if there is one.
        now: the time, for the rows.
    """
    if database_url is None:
        yield from _own(folder, now)
    else:
        yield from _shared(database_url, now)


def _own(folder: Path, now: Callable[[], datetime]) -> Generator[LedgerBackend]:
    from snapshot_mcp.ledger.sqlite import SqliteLedger  # noqa: PLC0415 - only one of the two is needed

    ledger = SqliteLedger(folder / LEDGER_FILE, now)
    try:
        yield LedgerBackend(ledger, nullcontext, None)
    finally:
        ledger.close()


def _shared(database_url: SecretStr, now: Callable[[], datetime]) -> Generator[LedgerBackend]:
    from snapshot_mcp.ledger.postgres.change_lock import ChangeLock  # noqa: PLC0415 - as above
    from snapshot_mcp.ledger.postgres.database import Database  # noqa: PLC0415 - as above
    from snapshot_mcp.ledger.postgres.ledger import PostgresLedger  # noqa: PLC0415 - as above
    from snapshot_mcp.ledger.postgres.rate_limit import SharedRateLimiter  # noqa: PLC0415 - as above

    database = Database(database_url.get_secret_value())
    ledger, alone = PostgresLedger(database, now), ChangeLock(database)
    try:
        yield LedgerBackend(ledger, alone.hold, SharedRateLimiter(database))
    finally:
        ledger.close()
        alone.close()
        database.close()
