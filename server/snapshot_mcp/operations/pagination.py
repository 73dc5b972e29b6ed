"""All pages of a list of the cloud, several at a time, each entry once.

What is not wanted is dropped as it comes, so that memory is bounded by what is kept.
"""

from collections.abc import Awaitable, Callable, Iterable
from typing import Generic, TypeVar

import anyio
from anyio.abc import TaskGroup

from snapshot_mcp.cloud.client import Page
from snapshot_mcp.cloud.parsing import RawEntry, parse_entry
from snapshot_mcp.core.errors import ProtocolError, SnapshotMcpError, UnavailableError

T = TypeVar("T")

Fetch = Callable[[int], Awaitable[Page]]
"""Fetches the page with this number; pages start at 1."""

PAGE_SIZE = 100
MAX_CONCURRENT_PAGES = 8
MAX_PAGES = 1_100
LISTING_TIMEOUT_SECONDS = 180
"""The cloud's limit of requests lets some 1,300 pages pass in that time."""


class PageCollector(Generic[T]):
    """What was kept of a list, and what was met on the way.

    Args:
        keep: what is made of an entry; None drops it.

    Attributes:
        kept: what was kept, in the order in which it came.
        unreadable: entries without an id.
    """

    def __init__(self, keep: Callable[[RawEntry], T | None]) -> None:
        self.kept: list[T] = []
        self.unreadable = 0
        self._keep = keep
        self._ids: set[int] = set()

    @property
    def seen(self) -> int:
        """How many entries were met, each once."""
        return len(self._ids) + self.unreadable

    def take(self, entries: Iterable[object]) -> bool:
        """Take the entries of one page; whether there was a new one among them."""
        before, ids, keep = self.seen, self._ids, self._keep
        for raw in entries:
            entry = parse_entry(raw)
            if entry is None:
                self.unreadable += 1
            # A row that moved to another page meanwhile comes twice.
            elif entry.id not in ids:
                ids.add(entry.id)
                kept = keep(entry)
                if kept is not None:
                    self.kept.append(kept)
        return self.seen > before


async def collect(fetch: Fetch, keep: Callable[[RawEntry], T | None]) -> PageCollector[T]:
    """Everything in a list that `keep` makes something of.

    Raises:
        CloudError: a page could not be had; a part of a list is never taken for the whole.
        ProtocolError: the pages repeat, or do not end.
    """
    collected = PageCollector(keep)
    first = await fetch(1)
    collected.take(first.entries)
    if pages_counted(first) == 1 and _is_over(collected.seen, first.entries, first.total):
        return collected  # most lists are this short
    try:
        with anyio.fail_after(LISTING_TIMEOUT_SECONDS):
            number, last = await _collect_ahead(fetch, collected, first)
            await _collect_rest(fetch, collected, number, last, first.total)
    except TimeoutError as error:
        raise UnavailableError(
            f"The cloud did not give its whole list within {LISTING_TIMEOUT_SECONDS} s.",
            "Nothing was changed. Search for a part of the name to shorten it.",
        ) from error
    return collected


def pages_counted(first: Page) -> int:
    """How many pages of this size there must be, by the cloud's count."""
    if not first.entries or first.total is None:
        return 1
    return min(-(-first.total // len(first.entries)), MAX_PAGES)


async def _collect_ahead(
    fetch: Fetch, collected: PageCollector[T], first: Page
) -> tuple[int, list[object]]:
    """Collect the pages that the cloud counts, several at a time.

    Returns:
        The number of the page after them, and the entries of the last.
    """
    count, last = pages_counted(first), [first.entries]
    numbers = iter(range(2, count + 1))
    odd: list[SnapshotMcpError | list[object]] = []

    async def collect_each(group: TaskGroup) -> None:
        for number in numbers:
            page = await _fetched(fetch, number)
            strange = _taken(collected, page, first)
            if strange is not None:
                odd.append(strange)
                group.cancel_scope.cancel()
                return
            if number == count and isinstance(page, Page):
                last.append(page.entries)

    async with anyio.create_task_group() as group:
        for _ in range(min(MAX_CONCURRENT_PAGES, count - 1)):
            group.start_soon(collect_each, group)
    for strange in odd[:1]:
        if isinstance(strange, SnapshotMcpError):
            raise strange  # outside of the group, which would wrap it
        return 2, strange
    return count + 1, last[-1]


async def _fetched(fetch: Fetch, number: int) -> Page | SnapshotMcpError:
    try:
        return await fetch(number)
    except SnapshotMcpError as error:
        return error


def _taken(
    collected: PageCollector[T], page: Page | SnapshotMcpError, first: Page
) -> SnapshotMcpError | list[object] | None:
    """Take a page; what is odd about it: its failure, or the page after which to go on slowly."""
    if isinstance(page, SnapshotMcpError):
        return page
    if page.entries == first.entries or not collected.take(page.entries):
        return first.entries  # it repeats itself, or the cloud holds less than it counts
    return None


async def _collect_rest(
    fetch: Fetch,
    collected: PageCollector[T],
    number: int,
    previous: list[object],
    total: int | None,
) -> None:
    """Go on page by page to the end: a count may be missing, wrong, or of one page only."""
    while not _is_over(collected.seen, previous, total):
        if number > MAX_PAGES:
            raise ProtocolError(
                f"The cloud's list does not end after {MAX_PAGES * PAGE_SIZE} entries.",
                "Nothing was changed. Search for a part of the name to shorten it.",
            )
        page = await fetch(number)
        # What cannot be read has no id, so only the page as a whole tells a repetition.
        repeats = bool(page.entries) and page.entries == previous
        total = page.total
        if not collected.take([] if repeats else page.entries):
            if repeats and collected.seen < (total or 0):
                raise ProtocolError(
                    f"The cloud counts {total} entries but repeats the first {collected.seen}.",
                    "Nothing was changed. Search for a part of the name to shorten the list.",
                )
            return
        previous = page.entries
        number += 1


def _is_over(seen: int, last: list[object], total: int | None) -> bool:
    # A full page is followed whatever the count says; and a server with a smaller page size than
    # asked for sends short pages all along.
    return not last or (total is not None and seen >= total and len(last) < PAGE_SIZE)
