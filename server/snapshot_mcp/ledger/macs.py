"""The MACs of the ledger: without the signing key, no row and no mark can be written that fit.

A row's MAC covers its hash, and so every row before it. The MAC of the mark covers the last row, so
the last rows cannot be removed. The two keys are derived from the signing key, so a MAC of one kind
is never one of the other kind, or a signature of a plan. This module does no I/O.
"""

import hmac

from snapshot_mcp.ledger.chain import Row
from snapshot_mcp.ledger.mark import Mark

_ROWS = b"snapshot-mcp ledger rows 1"
_MARK = b"snapshot-mcp ledger mark 1"


class LedgerMacs:
    """Makes and checks the MACs of one ledger.

    Args:
        signing_key: the signing key of the server.
    """

    def __init__(self, signing_key: bytes) -> None:
        self._row_key = hmac.digest(signing_key, _ROWS, "sha256")
        self._mark_key = hmac.digest(signing_key, _MARK, "sha256")

    def sign_row(self, row: Row) -> Row:
        """Return a linked row with its MAC."""
        return row._replace(mac=_mac(self._row_key, row.hash))

    def sign_mark(self, mark: Mark) -> Mark:
        """Return the mark with its MAC."""
        return mark._replace(mac=_mac(self._mark_key, f"{mark.row} {mark.hash}"))

    def fits_row(self, row_hash: str, mac: str) -> bool:
        """Return whether a row with this hash was written with the signing key."""
        return _equals(mac, _mac(self._row_key, row_hash))

    def fits_mark(self, mark: Mark) -> bool:
        """Return whether the mark was written with the signing key."""
        return _equals(mark.mac, _mac(self._mark_key, f"{mark.row} {mark.hash}"))


def _mac(key: bytes, text: object) -> str:
    # What others wrote into the file may be no text, or no valid text.
    return hmac.digest(key, str(text).encode(errors="replace"), "sha256").hex()


def _equals(stored: object, expected: str) -> bool:
    return hmac.compare_digest(str(stored).encode(errors="replace"), expected.encode())
