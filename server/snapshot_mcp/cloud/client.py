"""The API calls that change nothing, one method each."""

from collections.abc import Awaitable, Callable, Mapping
from functools import cache, partial
from typing import NamedTuple, TypeVar
from urllib.parse import quote

from snapshot_mcp.cloud.api import ApiClient
from snapshot_mcp.cloud.billing import BillingReader
from snapshot_mcp.cloud.damaged_json import UNREADABLE
from snapshot_mcp.cloud.decoding import AnswerFormat, JsonDecoder, build_list_decoder, decode_json
from snapshot_mcp.cloud.field_readers import read_count, read_id
from snapshot_mcp.cloud.images import find_image, parse_vms_of_image
from snapshot_mcp.cloud.parsing import (
    entry_keys,
    get_list,
    get_object,
    parse_entry,
    parse_snapshot,
    parse_virtual_machine,
    require_object,
)
from snapshot_mcp.core.errors import AnswerTooLargeError, ProtocolError
from snapshot_mcp.core.sanitize import MAX_NAME_LENGTH, sanitize
from snapshot_mcp.models.cloud import CustomImage, Snapshot, VirtualMachine

T = TypeVar("T")

MAX_PAGE_ENTRIES = 1_000
"""Limit of entries in one answer, for a server that ignores the page size."""


MAX_LARGE_ENTRIES = 3
"""Limit of entries of a page that exceed the size limit by themselves; each costs 20 requests."""

PARTS_OF_PAGE = 10
"""A page that exceeds the size limit is read in this number of parts: 100 entries, 10, 1."""


class Page(NamedTuple):
    """One page of a list.

    Attributes:
        entries: its raw entries.
        total: the cloud's count of all entries, if it states one.
        page_size: number of entries of a full page according to the cloud, if it says so.
    """

    entries: list[object]
    total: int | None
    page_size: int | None = None


class CloudReader:
    """All calls that change nothing. They raise the errors of `ApiClient.read`.

    Attributes:
        billing: the calls about costs.
    """

    def __init__(self, api: ApiClient) -> None:
        self.billing = BillingReader(api)
        self._api = api
        self._decoder = cache(_build_snapshots_decoder)

    async def get_snapshots_page(
        self,
        page: int,
        page_size: int,
        search: str,
        fields: tuple[str, ...] | None = None,
        *,
        retry: bool = True,
    ) -> Page:
        """Return one page of snapshots, without the fields that only `get_snapshot` reads.

        Args:
            page: its number, from 1.
            page_size: number of entries to request.
            search: part of the name; empty for all.
            fields: the fields to read from each entry; None for all that a list contains.
            retry: False if a late answer is useless to the caller.
        """
        read = partial(
            self._read_page, "/core/snapshots", "snapshots", search, self._decoder(fields), retry
        )
        return await _read_around_large_entries(read, page, page_size)

    async def get_virtual_machines_page(
        self, page: int, page_size: int, search: str, *, retry: bool = True
    ) -> Page:
        """Return one page of VMs, oldest first. Arguments as in `get_snapshots_page`."""
        read = partial(
            self._read_page, "/core/virtual-machines", "instances", search, decode_json, retry
        )
        return await _read_around_large_entries(read, page, page_size)

    async def get_snapshot(self, snapshot_id: int) -> Snapshot:
        """Return one snapshot, with all its fields."""
        return await self._api.read(
            f"/core/snapshots/{snapshot_id}",
            f"snapshot {snapshot_id}",
            lambda body: _require_id(
                parse_snapshot(get_object(require_object(body), "snapshot")), snapshot_id
            ),
        )

    async def get_virtual_machine(self, vm_id: int) -> VirtualMachine:
        """Return one VM."""
        return await self._api.read(
            f"/core/virtual-machines/{vm_id}",
            f"VM {vm_id}",
            lambda body: _require_id(
                parse_virtual_machine(get_object(require_object(body), "instance", "instances")),
                vm_id,
            ),
        )

    async def get_snapshot_events(self, snapshot_id: int) -> list[object]:
        """Return the raw events of a snapshot, in no order.

        Source: the vendor's OpenAPI document: `snapshot_events`, without pages.
        """
        return await self._api.read(
            f"/core/snapshots/{snapshot_id}/events",
            f"history of snapshot {snapshot_id}",
            lambda body: get_list(require_object(body), "snapshot_events"),
        )

    async def find_image(self, name: str) -> CustomImage | None:
        """Return the image with exactly this name that the account can use, or None.

        Source: the vendor's OpenAPI document: images by region and system, `images[].images[]`.
        """
        return await self._api.read(
            "/core/images", "the list of images", partial(find_image, name), {"search": name}
        )

    async def get_vms_of_image(self, image_id: int) -> tuple[str, ...] | None:
        """Return the VMs that use an image, each as a name or an id; None if unknown.

        Source: the parameter `include_related_vms` in the vendor's OpenAPI document, which does not
        describe the format.
        """
        return await self._api.read(
            f"/core/images/{image_id}",
            f"image {image_id}",
            parse_vms_of_image,
            {"include_related_vms": "true"},
        )

    async def is_snapshot_name_available(self, name: str) -> bool:
        """Return whether no snapshot of the account has this name."""
        return await self._api.read(
            f"/core/snapshots/name-availability/{_quote_path_segment(name)}",
            "the name check",
            lambda body: _require_boolean(require_object(body), "available"),
        )

    async def get_regions(self) -> Mapping[int, str]:
        """Return the names of the regions by their ids.

        Source: `regions[]` with {id, name} in the vendor's OpenAPI document.
        """
        return await self._api.read("/core/regions", "the list of regions", _parse_regions)

    async def _read_page(
        self,
        path: str,
        key: str,
        search: str,
        decode: JsonDecoder,
        retry: bool,  # noqa: FBT001 - bound by position
        page: int,
        page_size: int,
    ) -> Page:
        query = _page_query(page, page_size, search)
        subject, parse = f"the list of {_PLURALS[key]}", partial(_parse_page, key)
        answer = AnswerFormat(decode, page_size)
        return await self._api.read(path, subject, parse, query, answer, retry=retry)


async def _read_around_large_entries(
    read: Callable[[int, int], Awaitable[Page]], page: int, page_size: int
) -> Page:
    """Return a page; if it exceeds the size limit, with `UNREADABLE` in place of the large entries.

    Raises:
        AnswerTooLargeError: more than `MAX_LARGE_ENTRIES` entries are too large.
    """
    try:
        return await read(page, page_size)
    except AnswerTooLargeError:
        if page_size == 1:
            return Page([UNREADABLE], None)
        if page_size % PARTS_OF_PAGE:
            raise
    entries: list[object] = []
    total: int | None = None
    part_size = page_size // PARTS_OF_PAGE
    for number in range((page - 1) * PARTS_OF_PAGE + 1, page * PARTS_OF_PAGE + 1):
        part = await _read_around_large_entries(read, number, part_size)
        entries += part.entries
        total = part.total if total is None else total
        if entries.count(UNREADABLE) > MAX_LARGE_ENTRIES:
            raise AnswerTooLargeError(
                f"More than {MAX_LARGE_ENTRIES} entries of the cloud's list exceed the size limit."
            )
        if not part.entries:
            break
    return Page(entries, total)


_PLURALS = {"snapshots": "snapshots", "instances": "VMs"}


def _build_snapshots_decoder(names: tuple[str, ...] | None) -> JsonDecoder:
    return build_list_decoder("snapshots", entry_keys(names))


def _page_query(page: int, page_size: int, search: str) -> Mapping[str, str | int]:
    query = {"page": page, "pageSize": page_size}
    return query | {"search": search} if search else query


def _require_id(item: T, expected_id: int) -> T:
    # Never act on an answer about another object.
    if getattr(item, "id", None) != expected_id:
        raise ProtocolError(f"The cloud's answer is not about id {expected_id}.")
    return item


def _quote_path_segment(name: str) -> str:
    # A name such as ".." would otherwise change the path.
    return quote(name, safe="").replace(".", "%2E")


def _parse_page(key: str, body: object) -> Page:
    answer = require_object(body)
    entries = get_list(answer, key)
    if len(entries) > MAX_PAGE_ENTRIES:
        raise ProtocolError("The cloud's answer has far more entries than were requested.")
    return Page(entries, read_count(answer.get("count")), read_id(answer.get("page_size")))


def _require_boolean(answer: Mapping[str, object], key: str) -> bool:
    value = answer.get(key)
    if not isinstance(value, bool):
        raise ProtocolError(f'The cloud\'s answer has no "{key}".')
    return value


def _parse_regions(body: object) -> Mapping[int, str]:
    regions: dict[int, str] = {}
    for raw in get_list(require_object(body), "regions"):
        entry = parse_entry(raw)
        name = None if entry is None else entry.raw.get("name")
        if entry is not None and isinstance(name, str):
            sanitized = sanitize(name, MAX_NAME_LENGTH)
            if sanitized.text and not sanitized.altered:
                regions[entry.id] = sanitized.text
    return regions
