"""Pagination: read all pages of one of the cloud's lists, several at a time, and each entry once.

Unwanted entries are dropped immediately, so memory grows only with the entries that are kept.

If an entry is deleted or inserted between two requests, the entries after it move, and one may be
missed. The list is read again if pages repeat an entry, or if the cloud's count of all entries
changes or differs from theirs. A deletion and an insertion together leave no such sign, so a
decision about writes needs a second pass that finds the same entries.
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
"""Time limit of one pass. The cloud's rate limit allows about 1,300 pages in that time."""

MAX_PASSES = 5
MAX_CONFIRMED_PAGES = 20
"""A longer list is confirmed by its first and last page, where an insertion shows if it is sorted
by time: a second pass over 100,000 entries would take the cloud's requests of two minutes."""


class PageCollector(Generic[T]):
    """Collects the entries of the pages of a list.

    Args:
        convert: returns what is kept of an entry; None drops the entry.

    Attributes:
        results: what was kept, in the order of the list.
        ids: the ids of the entries, kept or not.
        unreadable_count: the number of entries without an id.
    """

    def __init__(self, convert: Callable[[RawEntry], T | None]) -> None:
        self.results: list[T] = []
        self.unreadable_count = 0
        self.ids: set[int] = set()
        self._convert = convert

    @property
    def entry_count(self) -> int:
        """The number of different entries added, kept or not."""
        return len(self.ids) + self.unreadable_count

    def add_page(self, entries: Iterable[object]) -> bool:
        """Add the entries of one page; return whether any of them was new."""
        before, ids, convert = self.entry_count, self.ids, self._convert
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


class _Pass(Generic[T]):
    """One pass over the pages of a list.

    Args:
        convert: as in `PageCollector`.
        first: the first page.

    Attributes:
        collected: the entries so far.
        last: the page with the highest number that has entries, `last_number`.
    """

    def __init__(self, convert: Callable[[RawEntry], T | None], first: Page) -> None:
        self.collected = PageCollector(convert)
        self.first = first
        self.last_number, self.last = 1, first
        self._numbers: set[int] = set()
        self._totals: set[int] = set()
        self._repeats = False
        self.add(1, first)

    def add(self, number: int, page: Page) -> bool:
        """Add a page; return whether any of its entries was new."""
        # Source: in one page of the documentation `count` is the number of entries in the page.
        if page.total is not None and page.total != len(page.entries):
            self._totals.add(page.total)
        before = self.collected.entry_count
        is_new = self.collected.add_page(page.entries)
        if not self.has_read(number):
            added = self.collected.entry_count - before
            self._repeats = self._repeats or added < len(page.entries)
            self._numbers.add(number)
        if number > self.last_number and page.entries:
            self.last_number, self.last = number, page
        return is_new

    def has_read(self, number: int) -> bool:
        """Return whether the page with this number was added."""
        return number in self._numbers

    @property
    def total(self) -> int | None:
        """The cloud's largest count of all entries, if it states one."""
        return max(self._totals, default=None)

    @property
    def has_moved(self) -> bool:
        """Whether entries may have moved to other pages during this pass."""
        is_counted = self._totals <= {self.collected.entry_count}
        return self._repeats or not is_counted

    def agrees_with(self, other: "_Pass[T]") -> bool:
        """Return whether two passes found the same entries."""
        mine, others = self.collected, other.collected
        return mine.ids == others.ids and mine.unreadable_count == others.unreadable_count


async def collect_pages(
    fetch: FetchPage,
    start: Callable[[], Callable[[RawEntry], T | None]],
    *,
    decides: bool = False,
    counts_all: bool = True,
) -> PageCollector[T]:
    """Read a complete list and return what is kept of it.

    Args:
        fetch: fetches a page.
        start: begins a pass and returns its `PageCollector.convert`; what that kept in an earlier
            pass is invalid.
        decides: a decision about writes depends on the list, so it must be confirmed, and must have
            as many entries as the cloud counts.
        counts_all: False if the cloud may count more entries than it lists, as with a search.

    Raises:
        CloudError: a page could not be read; a partial list is never returned.
        UnavailableError: the list kept changing, is incomplete, or takes too long.
        ProtocolError: the pages repeat, or do not end.
    """
    max_seconds = LISTING_TIMEOUT_SECONDS * (2 if decides else 1)
    try:
        with anyio.fail_after(max_seconds):
            current = await _read_stable_list(fetch, start, decides=decides)
    except TimeoutError as error:
        raise UnavailableError(
            f"The cloud did not return its whole list within {max_seconds} s.",
            f"{NOTHING_CHANGED} Search for a part of the name to shorten the list.",
        ) from error
    count = current.collected.entry_count
    if decides and counts_all and current.total is not None and count < current.total:
        raise UnavailableError(
            f"The cloud counts {current.total} entries but lists only {count}, so the list may be"
            " incomplete.",
            f"{NOTHING_CHANGED} An incomplete list decides nothing. Try again later.",
        )
    return current.collected


async def _read_stable_list(
    fetch: FetchPage, start: Callable[[], Callable[[RawEntry], T | None]], *, decides: bool
) -> _Pass[T]:
    """Read a list until no entry can have been missed."""
    previous: _Pass[T] | None = None
    for _ in range(MAX_PASSES):
        current = await _read_once(fetch, start())
        if _is_one_page(current):
            return current  # most lists have one page
        if not current.has_moved and (not decides or await _are_ends_unchanged(fetch, current)):
            return current
        if previous is not None and current.agrees_with(previous):
            return current  # confirmed; if it still has signs, pages overlap or the count is wrong
        previous = current
    raise UnavailableError(
        f"The cloud's list kept changing while it was read: {MAX_PASSES} passes found different"
        " entries.",
        f"{NOTHING_CHANGED} Try again in a minute, or search for a part of the name to shorten the"
        " list.",
    )


async def _are_ends_unchanged(fetch: FetchPage, current: _Pass[T]) -> bool:
    """Return whether a long list with a count has its first and last page as during the pass."""
    if current.total is None or current.last_number <= MAX_CONFIRMED_PAGES:
        return False  # a second pass is needed
    for number, earlier in ((1, current.first), (current.last_number, current.last)):
        page = await fetch(number)
        if page.total != current.total or _page_ids(page) != _page_ids(earlier):
            return False
    return True


def _page_ids(page: Page) -> frozenset[int | None]:
    entries = map(parse_entry, page.entries)
    return frozenset(None if entry is None else entry.id for entry in entries)


async def _read_once(fetch: FetchPage, convert: Callable[[RawEntry], T | None]) -> _Pass[T]:
    current = _Pass(convert, await fetch(1))
    if not _is_one_page(current):
        number, last = await _collect_counted_pages(fetch, current)
        await _collect_rest(fetch, current, number, last)
    return current


def _is_one_page(current: _Pass[T]) -> bool:
    first, count = current.first, current.collected.entry_count
    return count_pages(first) == 1 and _is_complete(count, first, first.total)


def count_pages(first: Page) -> int:
    """Return the number of pages according to the total that the first page states."""
    if not first.entries or first.total is None:
        return 1
    return min(-(-first.total // len(first.entries)), MAX_PAGES)


async def _collect_counted_pages(fetch: FetchPage, current: _Pass[T]) -> tuple[int, Page]:
    """Collect the pages that the cloud's total implies, several at a time.

    Returns:
        The number of the next page to read, and the page before it.
    """
    first = current.first
    count, last = count_pages(first), [first]
    numbers = iter(range(2, count + 1))
    stop_reasons: list[SnapshotMcpError | Page] = []

    async def collect_each(group: TaskGroup) -> None:
        for number in numbers:
            page = await _fetch_or_error(fetch, number)
            stop_reason = _add_page(current, number, page)
            if stop_reason is not None:
                stop_reasons.append(stop_reason)
                group.cancel_scope.cancel()
                return
            if number == count and isinstance(page, Page):
                last.append(page)

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
    current: _Pass[T], number: int, page: Page | SnapshotMcpError
) -> SnapshotMcpError | Page | None:
    """Add a page; return the reason to stop reading several pages at a time, or None.

    Returns:
        The error of the page; or, if the pages repeat or end early, the first page, after which the
        list must be read page by page.
    """
    if isinstance(page, SnapshotMcpError):
        return page
    first = current.first
    if page.entries == first.entries or not current.add(number, page):
        return first
    return None


async def _collect_rest(fetch: FetchPage, current: _Pass[T], number: int, previous: Page) -> None:
    """Read page by page to the end, because the total may be missing or wrong."""
    collected, total = current.collected, current.first.total
    while not _is_complete(collected.entry_count, previous, total):
        if number > MAX_PAGES:
            raise ProtocolError(
                f"The cloud's list does not end after {MAX_PAGES * PAGE_SIZE} entries.",
                f"{NOTHING_CHANGED} Search for a part of the name to shorten the list.",
            )
        page = await fetch(number)
        # Unreadable entries have no id, so repeated pages are recognized by comparing all entries.
        repeats = bool(page.entries) and page.entries == previous.entries
        total = page.total
        if repeats and collected.entry_count < (total or 0):
            raise ProtocolError(
                f"The cloud counts {total} entries but repeats the first {collected.entry_count}.",
                f"{NOTHING_CHANGED} Search for a part of the name to shorten the list.",
            )
        is_read = current.has_read(number)
        if repeats or (not current.add(number, page) and not is_read):
            return
        previous = page
        number += 1


def _is_complete(entry_count: int, last: Page, total: int | None) -> bool:
    # Read on after a full page, even if the total says that it is the last. A short page alone does
    # not end the list: a server with a smaller page size than requested sends only short pages.
    is_full = len(last.entries) >= min(last.page_size or PAGE_SIZE, PAGE_SIZE)
    return not last.entries or (total is not None and entry_count >= total and not is_full)
