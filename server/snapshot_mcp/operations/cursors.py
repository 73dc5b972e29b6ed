"""Pages of the lists that tools return, and the cursors that lead to the next page.

A cursor contains the position of the last entry shown, not a page number. It stays valid when
entries are added or removed. It also contains a fingerprint of its list, so that it cannot be used
with another list.
"""

import binascii
import re
from bisect import insort
from collections.abc import Sequence
from typing import Generic, TypeVar

from pydantic_core import to_json

from snapshot_mcp.core.errors import RefusedError

T = TypeVar("T")

Position = tuple[int, int]
"""The place of an entry in the order of a list; positions ascend along it and are unique."""

_CURSOR = re.compile(r"(-?[0-9]{1,20})_(-?[0-9]{1,20})_([0-9]{1,5})")


class PageBuilder(Generic[T]):
    """Collects the entries of one page: the first `limit` entries after a position.

    Args:
        limit: the number of entries on a page.
        after: the last position of the previous page; None for the first page.

    Attributes:
        count: the number of entries added, on this page or not.
    """

    def __init__(self, limit: int, after: Position | None) -> None:
        self.count = 0
        self._limit = limit
        self._after = after
        self._entries: list[tuple[Position, T]] = []

    def add(self, position: Position, entry: T) -> None:
        """Add an entry; it is kept only as long as it belongs on this page."""
        self.count += 1
        if self._after is not None and position <= self._after:
            return
        entries = self._entries
        # One entry more than the limit is kept: it shows that there is a next page.
        if len(entries) <= self._limit or position < entries[-1][0]:
            # No two entries have the same position, so the entries themselves are never compared.
            insort(entries, (position, entry))
            del entries[self._limit + 1 :]

    @property
    def is_full(self) -> bool:
        """Whether there are entries for this page and at least one for the next."""
        return len(self._entries) > self._limit

    @property
    def entries(self) -> Sequence[T]:
        """The entries of this page, in order."""
        return [entry for _, entry in self._entries[: self._limit]]

    def next_cursor(self, list_key: object) -> str:
        """Return the cursor of the next page, or an empty string if this is the last page.

        Args:
            list_key: identifies the list: its filters and its order.
        """
        if not self.is_full:
            return ""
        position, _ = self._entries[self._limit - 1]
        # Plain digits are cheap in tokens.
        return "_".join(map(str, (*position, _fingerprint(list_key))))


def parse_cursor(cursor: str, list_key: object) -> Position | None:
    """Return the position that a cursor contains; None for an empty cursor.

    Raises:
        RefusedError: it is malformed, or belongs to another list.
    """
    if not cursor:
        return None
    match = _CURSOR.fullmatch(cursor)
    if match is not None:
        first, second, fingerprint = map(int, match.groups())
        if fingerprint == _fingerprint(list_key):
            return first, second
    raise RefusedError(
        "The cursor does not belong to this list.",
        "Pass next_cursor unchanged with the same filters, or omit it to start again.",
    )


def _fingerprint(list_key: object) -> int:
    return binascii.crc32(to_json(list_key)) & 0xFFFF
