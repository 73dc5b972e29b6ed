"""Pagination: read all pages of one of the cloud's lists, several at a time, and each entry once.

Unwanted entries are dropped immediately, so memory grows only with the entries that are kept.
"""

from collections.abc import Awaitable, Callable, Iterable
from typing import Generic, TypeVar

import anyio
from anyio.abc import TaskGroup

from snapshot_mcp.cloud.client import Page
from snapshot_mcp.cloud.parsing import RawEntry, parse_entry
from snapshot_mcp.core.errors import (
    NOTHING_CHANGED,
    ProtocolError,
    SnapshotMcpError,
    UnavailableError,
)

T = TypeVar("T")

FetchPage = Callable[[int], Awaitable[Page]]
"""Fetches the page with this number; pages start at 1."""

PAGE_SIZE = 100
MAX_CONCURRENT_PAGES = 8
MAX_PAGES = 1_100
LISTING_TIMEOUT_SECONDS = 180
"""The cloud's rate limit allows about 1,300 pages in that time."""


class PageCollector(Generic[T]):
    """Collects the entries of the pages of a list.

    Args:
        convert: returns what is kept of an entry; None drops the entry.

    Attributes:
        results: what was kept, in the order of the list.
        unreadable_count: the number of entries without an id.
    """

    def __init__(self, convert: Callable[[RawEntry], T | None]) -> None:
        self.results: list[T] = []
        self.unreadable_count = 0
        self._convert = convert
        self._ids: set[int] = set()

    @property
    def entry_count(self) -> int:
        """The number of different entries added, kept or not."""
        return len(self._ids) + self.unreadable_count

    def add_page(self, entries: Iterable[object]) -> bool:
        """Add the entries of one page; return whether any of them was new."""
        before, ids, convert = self.entry_count, self._ids, self._convert
        for raw in entries:
            entry = parse_entry(raw)
            if entry is None:
                self.unreadable_count += 1
            # An entry is repeated if it moved to another page between two requests.
            elif entry.id not in ids:
                ids.add(entry.id)
                result = convert(entry)
                if result is not None:
                    self.results.append(result)
        return self.entry_count > before


async def collect_pages(
    fetch: FetchPage, convert: Callable[[RawEntry], T | None]
) -> PageCollector[T]:
    """Read a complete list and return what `convert` keeps of it.

    Raises:
        CloudError: a page could not be read; a partial list is never returned.
        ProtocolError: the pages repeat, or do not end.
    """
    collected = PageCollector(convert)
    first = await fetch(1)
    collected.add_page(first.entries)
    if count_pages(first) == 1 and _is_complete(collected.entry_count, first.entries, first.total):
        return collected  # most lists have one page
    try:
        with anyio.fail_after(LISTING_TIMEOUT_SECONDS):
            number, last = await _collect_counted_pages(fetch, collected, first)
            await _collect_rest(fetch, collected, number, last, first.total)
    except TimeoutError as error:
        raise UnavailableError(
            f"The cloud did not return its whole list within {LISTING_TIMEOUT_SECONDS} s.",
            f"{NOTHING_CHANGED} Search for a part of the name to shorten the list.",
        ) from error
    return collected


def count_pages(first: Page) -> int:
    """Return the number of pages according to the total that the first page states."""
    if not first.entries or first.total is None:
        return 1
    return min(-(-first.total // len(first.entries)), MAX_PAGES)


async def _collect_counted_pages(
    fetch: FetchPage, collected: PageCollector[T], first: Page
) -> tuple[int, list[object]]:
    """Collect the pages that the cloud's total implies, several at a time.

    Returns:
        The number of the next page to read, and the entries of the page before it.
    """
    count, last = count_pages(first), [first.entries]
    numbers = iter(range(2, count + 1))
    stop_reasons: list[SnapshotMcpError | list[object]] = []

    async def collect_each(group: TaskGroup) -> None:
        for number in numbers:
            page = await _fetch_or_error(fetch, number)
            stop_reason = _add_page(collected, page, first)
            if stop_reason is not None:
                stop_reasons.append(stop_reason)
                group.cancel_scope.cancel()
                return
            if number == count and isinstance(page, Page):
                last.append(page.entries)

    async with anyio.create_task_group() as group:
        for _ in range(min(MAX_CONCURRENT_PAGES, count - 1)):
            group.start_soon(collect_each, group)
    for stop_reason in stop_reasons[:1]:
        if isinstance(stop_reason, SnapshotMcpError):
            raise stop_reason  # outside the task group, which would wrap it
        return 2, stop_reason
    return count + 1, last[-1]


async def _fetch_or_error(fetch: FetchPage, number: int) -> Page | SnapshotMcpError:
    try:
        return await fetch(number)
    except SnapshotMcpError as error:
        return error


def _add_page(
    collected: PageCollector[T], page: Page | SnapshotMcpError, first: Page
) -> SnapshotMcpError | list[object] | None:
    """Add a page; return the reason to stop reading several pages at a time, or None.

    Returns:
        The error of the page; or, if the pages repeat or end early, the entries of the first page,
        after which the list must be read page by page.
    """
    if isinstance(page, SnapshotMcpError):
        return page
    if page.entries == first.entries or not collected.add_page(page.entries):
        return first.entries
    return None


async def _collect_rest(
    fetch: FetchPage,
    collected: PageCollector[T],
    number: int,
    previous: list[object],
    total: int | None,
) -> None:
    """Read page by page to the end, because the total may be missing or wrong."""
    while not _is_complete(collected.entry_count, previous, total):
        if number > MAX_PAGES:
            raise ProtocolError(
                f"The cloud's list does not end after {MAX_PAGES * PAGE_SIZE} entries.",
                f"{NOTHING_CHANGED} Search for a part of the name to shorten the list.",
            )
        page = await fetch(number)
        # Unreadable entries have no id, so repeated pages are recognized by comparing all entries.
        repeats = bool(page.entries) and page.entries == previous
        total = page.total
        if not collected.add_page([] if repeats else page.entries):
            count = collected.entry_count
            if repeats and count < (total or 0):
                raise ProtocolError(
                    f"The cloud counts {total} entries but repeats the first {count}.",
                    f"{NOTHING_CHANGED} Search for a part of the name to shorten the list.",
                )
            return
        previous = page.entries
        number += 1


def _is_complete(entry_count: int, last: list[object], total: int | None) -> bool:
    # Read on after a full page, even if the total says that it is the last. A short page alone does
    # not end the list: a server with a smaller page size than requested sends only short pages.
    return not last or (total is not None and entry_count >= total and len(last) < PAGE_SIZE)
