"""Completions for a person who types a name or an id, from one page of a list.

A completion must come fast or not at all, so the page is requested once, without retries.
"""

from collections.abc import Iterable
from functools import partial
from typing import NamedTuple

from snapshot_mcp.cloud.client import Page
from snapshot_mcp.cloud.parsing import RawEntry, parse_fields, parse_virtual_machine
from snapshot_mcp.core.sanitize import MAX_NAME_LENGTH, sanitize
from snapshot_mcp.models.cloud import snapshot_state
from snapshot_mcp.operations.cache import TtlCache
from snapshot_mcp.operations.consistent_reader import ConsistentReader
from snapshot_mcp.operations.pagination import PAGE_SIZE, PageCollector
from snapshot_mcp.operations.requests import SuggestionKind

MAX_SUGGESTIONS = 100
"""Source: the protocol's limit of values in one completion."""


class Suggestions(NamedTuple):
    """Values to offer.

    Attributes:
        values: the best first.
        total: the number of matches; None if it is not known.
        has_more: whether there are, or may be, matches besides `values`.
    """

    values: list[str]
    total: int | None
    has_more: bool


class _Candidate(NamedTuple):
    id: int
    name: str


async def suggest(
    reader: ConsistentReader, cache: TtlCache[Page], kind: SuggestionKind, typed: str
) -> Suggestions:
    """Return the names or ids that match `typed`: prefix matches first, then the newest first.

    An id is found by its first digits or by a part of the name.

    Raises:
        CloudError: the cloud gave no usable answer.
        ProtocolError: the cloud's answer does not fit its API.
    """
    typed = sanitize(typed, MAX_NAME_LENGTH).text
    by_digits = kind.endswith("_id") and typed.isdigit()
    for_snapshots = kind.startswith("snapshot")
    fetch = reader.get_snapshots_page if for_snapshots else reader.get_virtual_machines_page
    search = "" if by_digits else typed
    load = partial(fetch, 1, PAGE_SIZE, search, retry=False)
    page = await cache.get((for_snapshots, search), load)
    if for_snapshots:
        page = await reader.correct_page(page)
    candidates, prefix = _parse_candidates(page, for_snapshots=for_snapshots), typed.casefold()
    if by_digits:
        matches = [candidate for candidate in candidates if str(candidate.id).startswith(typed)]
    else:
        matches = [candidate for candidate in candidates if prefix in candidate.name.casefold()]
    matches.sort(key=lambda match: (not match.name.casefold().startswith(prefix), -match.id))
    values, complete = _values(matches, kind), _is_complete(page)
    return Suggestions(
        values[:MAX_SUGGESTIONS],
        len(values) if complete else None,
        has_more=not complete or len(values) > MAX_SUGGESTIONS,
    )


def _parse_candidates(page: Page, *, for_snapshots: bool) -> list[_Candidate]:
    def convert(entry: RawEntry) -> _Candidate | None:
        if for_snapshots:
            fields = parse_fields(entry, ("name", "status"))
            if snapshot_state(fields.get("status")) == "deleting":
                return None
            return _Candidate(entry.id, fields.get("name", ""))
        return _Candidate(entry.id, parse_virtual_machine(entry.raw).name)

    collected = PageCollector(convert)
    collected.add_page(page.entries)
    return collected.results


def _values(matches: Iterable[_Candidate], kind: SuggestionKind) -> list[str]:
    if kind.endswith("_id"):
        return [str(match.id) for match in matches]
    return list(dict.fromkeys(match.name for match in matches if match.name))


def _is_complete(page: Page) -> bool:
    if page.total is None:
        return len(page.entries) < PAGE_SIZE
    return page.total <= len(page.entries)
