"""The API calls that the tools need, one method each. Reads and writes are two classes.

Only the gate (`consent/gate.py`) has access to the writer, so no write can bypass it.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from functools import cache, partial
from typing import NamedTuple, TypeVar
from urllib.parse import quote

from snapshot_mcp.cloud.api import ApiClient
from snapshot_mcp.cloud.billing import BillingReader
from snapshot_mcp.cloud.damaged_json import UNREADABLE
from snapshot_mcp.cloud.decoding import JsonDecoder, build_list_decoder, decode_json
from snapshot_mcp.cloud.field_readers import read_count, read_id
from snapshot_mcp.cloud.images import find_image, parse_vms_of_image
from snapshot_mcp.cloud.parsing import (
    entry_keys,
    get_list,
    get_object,
    parse_entry,
    parse_image,
    parse_snapshot,
    parse_virtual_machine,
    require_object,
)
from snapshot_mcp.cloud.response_errors import reports_success
from snapshot_mcp.core.errors import AnswerTooLargeError, ProtocolError
from snapshot_mcp.core.sanitize import MAX_NAME_LENGTH, REPLACEMENT, sanitize
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


class RestoreReceipt(NamedTuple):
    """The new VM, and whether the cloud rejected the contract and bills on demand instead."""

    virtual_machine: VirtualMachine
    contract_rejected: bool


class DeletionReceipt(NamedTuple):
    """The id of what is deleted, and whether it is certain that the cloud shows it no longer."""

    id: int
    gone: bool = False


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
        return await self._api.read(path, subject, parse, query, decode, retry=retry)


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


class CloudWriter:
    """All calls that change something. No retries; they raise the errors of `ApiClient.write`."""

    def __init__(self, api: ApiClient) -> None:
        self._api = api

    def write_slot(self) -> AbstractAsyncContextManager[None]:
        """Wait for a slot for one write, which must be sent immediately. The wait can be cancelled.

        Raises:
            UnavailableError: the cloud is down, or too many requests are waiting; nothing was sent.
        """
        return self._api.write_slot()

    async def create_snapshot(
        self, vm_id: int, name: str, description: str, labels: Sequence[str]
    ) -> Snapshot:
        """Request a snapshot of a VM. The cloud answers before the snapshot is complete."""
        return await self._api.write(
            "POST",
            f"/core/virtual-machines/{vm_id}/snapshots",
            f"a snapshot of VM {vm_id}",
            lambda body: _require_created_snapshot(
                parse_snapshot(get_object(require_object(body), "snapshot")), vm_id, name
            ),
            {"name": name, "description": description, "labels": list(labels)},
        )

    async def restore_snapshot(
        self, snapshot_id: int, new_vm_name: str, contract_id: int | None
    ) -> RestoreReceipt:
        """Request a new VM from a snapshot. The VM is billed from now on."""
        body: dict[str, str | int | list[str]] = {"new_vm_name": new_vm_name}
        if contract_id is not None:
            body["contract_id"] = contract_id
        return await self._api.write(
            "POST",
            f"/core/snapshots/{snapshot_id}/restore",
            f"a restore of snapshot {snapshot_id}",
            partial(_parse_restore_receipt, new_vm_name),
            body,
        )

    async def create_image(self, snapshot_id: int, name: str, labels: Sequence[str]) -> CustomImage:
        """Create an image of a snapshot. Fields that the cloud does not return are None."""
        return await self._api.write(
            "POST",
            f"/core/snapshots/{snapshot_id}/image",
            f"an image of snapshot {snapshot_id}",
            partial(_parse_created_image, name),
            {"name": name, "labels": list(labels)},
        )

    async def delete_snapshot(self, snapshot_id: int) -> DeletionReceipt:
        """Delete a snapshot and the image made from it, permanently."""
        await self._api.write(
            "DELETE",
            f"/core/snapshots/{snapshot_id}",
            f"the deletion of snapshot {snapshot_id}",
            _require_success,
        )
        return DeletionReceipt(snapshot_id)

    async def delete_virtual_machine(self, vm_id: int) -> DeletionReceipt:
        """Delete a VM and its root disk, permanently."""
        await self._api.write(
            "DELETE",
            f"/core/virtual-machines/{vm_id}",
            f"the deletion of VM {vm_id}",
            _require_success,
        )
        return DeletionReceipt(vm_id)


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


def _require_success(body: object) -> None:
    if not reports_success(require_object(body).get("status")):
        raise ProtocolError("The cloud's answer does not report success.")


def _require_created_snapshot(snapshot: Snapshot, vm_id: int, name: str) -> Snapshot:
    # Otherwise a person would rely on a snapshot of another VM. A damaged field proves nothing.
    has_vm, has_name = snapshot.vm_id == vm_id, snapshot.name == name
    vm_fits = has_vm or _is_damaged(snapshot, "vm_id", snapshot.vm_id)
    name_fits = has_name or _is_damaged(snapshot, "name", snapshot.name)
    if not (vm_fits and name_fits and (has_vm or has_name)):
        raise ProtocolError("The cloud's answer is not about the requested snapshot.")
    return snapshot.model_copy(update={"vm_id": vm_id, "name": name})


def _is_damaged(item: Snapshot | VirtualMachine, field: str, value: object) -> bool:
    """Return whether a byte of a field was not readable, so its value is not known."""
    return field in (item.altered or ()) and (not value or REPLACEMENT in str(value))


def _quote_path_segment(name: str) -> str:
    # A name such as ".." would otherwise change the path.
    return quote(name, safe="").replace(".", "%2E")


def _parse_page(key: str, body: object) -> Page:
    answer = require_object(body)
    entries = get_list(answer, key)
    if len(entries) > MAX_PAGE_ENTRIES:
        raise ProtocolError("The cloud's answer has far more entries than were requested.")
    return Page(entries, read_count(answer.get("count")), read_id(answer.get("page_size")))


def _parse_restore_receipt(new_vm_name: str, body: object) -> RestoreReceipt:
    answer = require_object(body)
    vm = parse_virtual_machine(get_object(answer, "instances", "instance"))
    if vm.name != new_vm_name and not _is_damaged(vm, "name", vm.name):
        raise ProtocolError("The cloud's answer is not about the requested VM.")
    vm = vm.model_copy(update={"name": new_vm_name})
    errors = answer.get("errors")
    return RestoreReceipt(vm, isinstance(errors, Mapping) and "contract" in errors)


def _parse_created_image(name: str, body: object) -> CustomImage:
    # Source: `image` in the recorded replies; the published SDK has its id beside the message.
    answer = require_object(body)
    image = parse_image(answer.get("image") if _is_object(answer.get("image")) else answer)
    if image.name not in (None, name) and REPLACEMENT not in (image.name or ""):
        raise ProtocolError("The cloud's answer is not about the requested image.")
    return image.model_copy(update={"name": name})


def _is_object(value: object) -> bool:
    return isinstance(value, Mapping)


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
