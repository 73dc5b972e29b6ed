"""Our own pages of a list: what is shown of it, and the cursor that leads on.

A cursor names the last entry shown, not a number of a page: it stays right while rows come and go.
It also names the list that it is of, so that it is not taken for another one.
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
"""Where an entry stands in the order of a list; positions ascend along it."""

_CURSOR = re.compile(r"(-?[0-9]{1,20})_(-?[0-9]{1,20})_([0-9]{1,5})")


class PageBuilder(Generic[T]):
    """The entries that one page shows: the first so many after a position.

    Args:
        limit: how many a page shows.
        after: the last position of the page before; None for the first page.

    Attributes:
        count: how many entries there are, shown or not.
    """

    def __init__(self, limit: int, after: Position | None) -> None:
        self.count = 0
        self._limit = limit
        self._after = after
        self._best: list[tuple[Position, T]] = []

    def add(self, position: Position, entry: T) -> None:
        """Add an entry; it is kept only while it stands among the first."""
        self.count += 1
        if self._after is not None and position <= self._after:
            return
        best = self._best
        if len(best) <= self._limit or position < best[-1][0]:
            # No two entries have one position, so the entries themselves are never compared.
            insort(best, (position, entry))
            del best[self._limit + 1 :]

    @property
    def is_full(self) -> bool:
        """Whether there are entries for this page, and one for the next."""
        return len(self._best) > self._limit

    @property
    def entries(self) -> Sequence[T]:
        """What the page shows, in order."""
        return [entry for _, entry in self._best[: self._limit]]

    def cursor(self, belongs_to: object) -> str:
        """The cursor of the next page of the list `belongs_to`; empty where there is none."""
        if not self.is_full:
            return ""
        position, _ = self._best[self._limit - 1]
        # Plain digits: a model pays for every character of it.
        return "_".join(map(str, (*position, _fingerprint(belongs_to))))


def position_of(cursor: str, belongs_to: object) -> Position | None:
    """The position that a cursor of the list `belongs_to` names; None for no cursor.

    Raises:
        RefusedError: it is none, or of another list.
    """
    if not cursor:
        return None
    found = _CURSOR.fullmatch(cursor)
    if found is not None:
        first, second, fingerprint = map(int, found.groups())
        if fingerprint == _fingerprint(belongs_to):
            return first, second
    raise RefusedError(
        "The cursor is not one of this list.",
        "Use next_cursor as it came, with the same filters, or leave it out to start again.",
    )


def _fingerprint(belongs_to: object) -> int:
    return binascii.crc32(to_json(belongs_to)) & 0xFFFF
