"""The API calls that change something, one method each.

Only the gate (`consent/gate.py`) has access to the writer, so no write can bypass it.
"""

from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from functools import partial
from typing import NamedTuple

from snapshot_mcp.cloud.api import ApiClient
from snapshot_mcp.cloud.parsing import (
    get_object,
    parse_image,
    parse_snapshot,
    parse_virtual_machine,
    require_object,
)
from snapshot_mcp.cloud.response_errors import reports_success
from snapshot_mcp.core.errors import ProtocolError
from snapshot_mcp.core.sanitize import REPLACEMENT
from snapshot_mcp.models.cloud import CustomImage, Snapshot, VirtualMachine


class RestoreReceipt(NamedTuple):
    """The new VM, and whether the cloud rejected the contract and bills on demand instead."""

    virtual_machine: VirtualMachine
    contract_rejected: bool


class DeletionReceipt(NamedTuple):
    """The id of what is deleted, and whether it is certain that the cloud shows it no longer."""

    id: int
    gone: bool = False


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
