"""What a person who types a name or an id may mean: from one page of a list, asked for once.

A suggestion is a help, not an answer: it must come at once or not at all.
"""

from collections.abc import Iterable
from functools import partial
from typing import NamedTuple

from snapshot_mcp.cloud.client import CloudReader, Page
from snapshot_mcp.cloud.parsing import RawEntry, parse_fields, parse_virtual_machine
from snapshot_mcp.core.sanitize import MAX_NAME_LENGTH, sanitize
from snapshot_mcp.operations.cache import TtlCache
from snapshot_mcp.operations.pagination import PAGE_SIZE, PageCollector
from snapshot_mcp.operations.requests import SuggestionKind

MAX_SUGGESTIONS = 100
"""Source: the protocol's limit of values in one completion."""


class Suggestions(NamedTuple):
    """Values to offer.

    Attributes:
        values: the best first.
        total: how many there are in all; None when nobody knows.
        more: whether there are others, or may be.
    """

    values: list[str]
    total: int | None
    more: bool


class _Named(NamedTuple):
    id: int
    name: str


async def suggest(
    reader: CloudReader, recent: TtlCache[Page], wanted: SuggestionKind, typed: str
) -> Suggestions:
    """The names or ids that go with `typed`: those that begin so first, and the newest first.

    Ids are found by their first digits, or by a part of the thing's name.

    Raises:
        CloudError: the cloud gave no usable answer.
        ProtocolError: the answer does not fit.
    """
    typed = sanitize(typed, MAX_NAME_LENGTH).text
    by_digits = wanted.endswith("_id") and typed.isdigit()
    of_snapshots = wanted.startswith("snapshot")
    fetch = reader.get_snapshots_page if of_snapshots else reader.get_virtual_machines_page
    search = "" if by_digits else typed
    look = partial(fetch, 1, PAGE_SIZE, search, once=True)
    page = await recent.get((of_snapshots, search), look)
    found, typed = _found(page, of_snapshots=of_snapshots), typed.casefold()
    if by_digits:
        matching = [it for it in found if str(it.id).startswith(typed)]
    else:
        matching = [it for it in found if typed in it.name.casefold()]
    matching.sort(key=lambda it: (not it.name.casefold().startswith(typed), -it.id))
    values = _values(matching, wanted)
    whole = _is_whole(page)
    return Suggestions(
        values[:MAX_SUGGESTIONS],
        len(values) if whole else None,
        more=not whole or len(values) > MAX_SUGGESTIONS,
    )


def _found(page: Page, *, of_snapshots: bool) -> list[_Named]:
    def named(entry: RawEntry) -> _Named:
        if of_snapshots:
            return _Named(entry.id, parse_fields(entry, ("name",)).get("name", ""))
        return _Named(entry.id, parse_virtual_machine(entry.raw).name)

    collected = PageCollector(named)
    collected.take(page.entries)
    return collected.kept


def _values(matching: Iterable[_Named], wanted: SuggestionKind) -> list[str]:
    if wanted.endswith("_id"):
        return [str(it.id) for it in matching]
    return list(dict.fromkeys(it.name for it in matching if it.name))


def _is_whole(page: Page) -> bool:
    if page.total is None:
        return len(page.entries) < PAGE_SIZE
    return page.total <= len(page.entries)
