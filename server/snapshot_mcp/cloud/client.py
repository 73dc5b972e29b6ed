"""The calls that the tools need, one method each. Reading and writing are two classes.

Only the gate (`consent/gate.py`) is given the writer, so that no write can go around it.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from functools import cache, partial
from typing import NamedTuple, TypeVar, cast
from urllib.parse import quote

from snapshot_mcp.cloud.api import ApiClient
from snapshot_mcp.cloud.decoding import JsonDecoder, build_list_decoder, decode_json
from snapshot_mcp.cloud.field_readers import read_integer, read_number
from snapshot_mcp.cloud.parsing import (
    entry_keys,
    get_list,
    get_object,
    parse_image,
    parse_snapshot,
    parse_virtual_machine,
)
from snapshot_mcp.cloud.response_errors import reports_success
from snapshot_mcp.core.errors import ProtocolError
from snapshot_mcp.models.cloud import CustomImage, Snapshot, VirtualMachine

T = TypeVar("T")

MAX_PAGE_ENTRIES = 1_000
"""A server that ignores the page size may send more than asked for, but not without end."""


class Page(NamedTuple):
    """One page of a list: its raw entries, and how many entries the cloud counts in all."""

    entries: list[object]
    total: int | None


class RestoreReceipt(NamedTuple):
    """The new VM, and whether the cloud rejected the contract and bills it on demand."""

    virtual_machine: VirtualMachine
    contract_rejected: bool


class CloudReader:
    """Everything that changes nothing. Errors are those of `Api.read`."""

    def __init__(self, api: ApiClient) -> None:
        self._api = api
        self._decoder = cache(_build_snapshots_decoder)

    async def get_snapshots_page(
        self,
        page: int,
        page_size: int,
        search: str,
        fields: tuple[str, ...] | None = None,
        *,
        once: bool = False,
    ) -> Page:
        """One page of snapshots, without the parts that only a single one shows.

        Args:
            page: its number; the first is 1.
            page_size: how many entries to ask for.
            search: a part of the name; empty for all.
            fields: the fields to read from each entry; None for all that a list contains.
            once: not again where it fails: an answer that comes late is of no use.
        """
        query, decode = _page_query(page, page_size, search), self._decoder(fields)
        return await self._read_page("/core/snapshots", "snapshots", query, decode, once=once)

    async def get_virtual_machines_page(
        self, page: int, page_size: int, search: str, *, once: bool = False
    ) -> Page:
        """One page of VMs, oldest first; pages start at 1, `search` is a part of the name."""
        query = _page_query(page, page_size, search)
        return await self._read_page("/core/virtual-machines", "instances", query, once=once)

    async def get_snapshot(self, snapshot_id: int) -> Snapshot:
        """One snapshot, with everything that the cloud tells."""
        return await self._api.read(
            f"/core/snapshots/{snapshot_id}",
            f"snapshot {snapshot_id}",
            lambda body: _require_id(
                parse_snapshot(get_object(_require_object(body), "snapshot")), snapshot_id
            ),
        )

    async def get_virtual_machine(self, vm_id: int) -> VirtualMachine:
        """One VM."""
        return await self._api.read(
            f"/core/virtual-machines/{vm_id}",
            f"VM {vm_id}",
            lambda body: _require_id(
                parse_virtual_machine(get_object(_require_object(body), "instance", "instances")),
                vm_id,
            ),
        )

    async def get_snapshot_events(self, snapshot_id: int) -> list[object]:
        """The raw entries of what happened to a snapshot, in no order.

        Source: the vendor's OpenAPI document: `snapshot_events`, all at once.
        """
        return await self._api.read(
            f"/core/snapshots/{snapshot_id}/events",
            f"history of snapshot {snapshot_id}",
            lambda body: get_list(_require_object(body), "snapshot_events"),
        )

    async def find_image(self, name: str) -> CustomImage | None:
        """The image of this very name that the account can use; None when there is none.

        Source: the vendor's OpenAPI document: images by region and system, `images[].images[]`.
        """
        return await self._api.read(
            "/core/images", "the list of images", partial(_find_image, name), {"search": name}
        )

    async def is_snapshot_name_available(self, name: str) -> bool:
        """Whether no snapshot of the account has this name."""
        return await self._api.read(
            f"/core/snapshots/name-availability/{_quote_path_segment(name)}",
            "the name check",
            lambda body: _require_boolean(_require_object(body), "available"),
        )

    async def get_prices(self) -> Mapping[str, float]:
        """Prices per hour by resource name ("vCPU", "RAM", "A100-80G-PCIe").

        Source: a bare array of {id, name, value}, the value as text, in the recorded replies.
        """
        return await self._api.read("/pricebook", "the price list", _parse_prices)

    async def _read_page(
        self,
        path: str,
        key: str,
        query: Mapping[str, str | int],
        decode: JsonDecoder = decode_json,
        *,
        once: bool,
    ) -> Page:
        subject, parse = f"the list of {_PLURALS[key]}", partial(_parse_page, key)
        return await self._api.read(path, subject, parse, query, decode, once=once)


class CloudWriter:
    """Everything that changes something. Errors are those of `Api.write`; nothing is retried."""

    def __init__(self, api: ApiClient) -> None:
        self._api = api

    def write_slot(self) -> AbstractAsyncContextManager[None]:
        """The time of one write, which is sent at once; the waiting for it can be cancelled.

        Raises:
            Unavailable: the cloud is down, or too many wait; nothing was sent.
        """
        return self._api.write_slot()

    async def create_snapshot(
        self, vm_id: int, name: str, description: str, labels: Sequence[str]
    ) -> Snapshot:
        """Order a snapshot of a VM; the cloud answers before it is made."""
        return await self._api.write(
            "POST",
            f"/core/virtual-machines/{vm_id}/snapshots",
            f"a snapshot of VM {vm_id}",
            lambda body: _require_created_snapshot(
                parse_snapshot(get_object(_require_object(body), "snapshot")), vm_id, name
            ),
            {"name": name, "description": description, "labels": list(labels)},
        )

    async def restore_snapshot(
        self, snapshot_id: int, new_vm_name: str, contract_id: int | None
    ) -> RestoreReceipt:
        """Order a new VM from a snapshot; it is billed from then on."""
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
        """Make an image of a snapshot; what the cloud does not tell of it is None."""
        return await self._api.write(
            "POST",
            f"/core/snapshots/{snapshot_id}/image",
            f"an image of snapshot {snapshot_id}",
            partial(_parse_created_image, name),
            {"name": name, "labels": list(labels)},
        )

    async def delete_snapshot(self, snapshot_id: int) -> int:
        """Delete a snapshot and the image made from it, for good; its id."""
        await self._api.write(
            "DELETE",
            f"/core/snapshots/{snapshot_id}",
            f"the deletion of snapshot {snapshot_id}",
            _require_success,
        )
        return snapshot_id


_PLURALS = {"snapshots": "snapshots", "instances": "VMs"}


def _build_snapshots_decoder(names: tuple[str, ...] | None) -> JsonDecoder:
    return build_list_decoder("snapshots", entry_keys(names))


def _page_query(page: int, page_size: int, search: str) -> Mapping[str, str | int]:
    query = {"page": page, "pageSize": page_size}
    return query | {"search": search} if search else query


def _require_object(body: object) -> Mapping[str, object]:
    if not isinstance(body, Mapping):
        raise ProtocolError("The cloud's answer is not a JSON object.")
    return cast("Mapping[str, object]", body)


def _require_id(thing: T, asked_id: int) -> T:
    # An answer about another thing must never be acted upon as if it were the one asked for.
    if getattr(thing, "id", None) != asked_id:
        raise ProtocolError(f"The cloud was asked for id {asked_id} and answered with another one.")
    return thing


def _require_success(body: object) -> None:
    if not reports_success(_require_object(body).get("status")):
        raise ProtocolError("The cloud's answer does not say that it worked.")


def _require_created_snapshot(snapshot: Snapshot, vm_id: int, name: str) -> Snapshot:
    # Somebody would rely on a snapshot that protects another machine.
    if (snapshot.vm_id, snapshot.name) != (vm_id, name):
        raise ProtocolError("The cloud's answer is not about the snapshot that was ordered.")
    return snapshot


def _quote_path_segment(name: str) -> str:
    # A name of dots would otherwise walk up the path.
    return quote(name, safe="").replace(".", "%2E")


def _parse_page(key: str, body: object) -> Page:
    answer = _require_object(body)
    entries = get_list(answer, key)
    if len(entries) > MAX_PAGE_ENTRIES:
        raise ProtocolError("The cloud's answer holds many more entries than were asked for.")
    return Page(entries, read_integer(answer.get("count")))


def _parse_restore_receipt(new_vm_name: str, body: object) -> RestoreReceipt:
    answer = _require_object(body)
    vm = parse_virtual_machine(get_object(answer, "instances", "instance"))
    if vm.name != new_vm_name:
        raise ProtocolError("The cloud's answer is not about the VM that was ordered.")
    errors = answer.get("errors")
    return RestoreReceipt(vm, isinstance(errors, Mapping) and "contract" in errors)


def _parse_created_image(name: str, body: object) -> CustomImage:
    # Source: `image` in the recorded replies; the published SDK has its id beside the message.
    answer = _require_object(body)
    image = parse_image(answer.get("image") if _is_object(answer.get("image")) else answer)
    if image.name not in (None, name):
        raise ProtocolError("The cloud's answer is not about the image that was ordered.")
    return image.model_copy(update={"name": name})


def _find_image(name: str, body: object) -> CustomImage | None:
    for raw in _flatten_images(get_list(_require_object(body), "images")):
        try:
            image = parse_image(raw)
        except ProtocolError:
            continue  # without an id it is none that could be used
        if image.name == name:
            return image
    return None


def _flatten_images(groups: list[object]) -> Iterator[object]:
    for group in groups:
        members = cast("Mapping[str, object]", group).get("images") if _is_object(group) else None
        yield from cast("list[object]", members) if isinstance(members, list) else [group]


def _is_object(value: object) -> bool:
    return isinstance(value, Mapping)


def _require_boolean(answer: Mapping[str, object], key: str) -> bool:
    value = answer.get(key)
    if not isinstance(value, bool):
        raise ProtocolError(f'The cloud\'s answer has no "{key}".')
    return value


def _parse_prices(body: object) -> Mapping[str, float]:
    if not isinstance(body, list):
        raise ProtocolError("The cloud's price list is not a list.")
    prices: dict[str, float] = {}
    for entry in cast("list[object]", body):
        if isinstance(entry, Mapping):
            named = cast("Mapping[str, object]", entry)
            name, price = named.get("name"), read_number(named.get("value"))
            if isinstance(name, str) and price is not None and price >= 0:
                prices[name] = price
    return prices
