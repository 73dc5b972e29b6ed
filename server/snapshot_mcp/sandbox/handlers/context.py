"""The arguments and result of a handler, and lookups that several handlers share."""

from dataclasses import dataclass
from datetime import datetime
from http import HTTPStatus
from typing import Any

from snapshot_mcp.sandbox import catalogue, lifecycle
from snapshot_mcp.sandbox.entities import Json, Snapshot, Vm
from snapshot_mcp.sandbox.errors import ApiError, bad_request_error, not_found_error
from snapshot_mcp.sandbox.request import ApiRequest, validate_name
from snapshot_mcp.sandbox.store import NamedKind, ResourceKind, StoreSession


@dataclass(frozen=True)
class HandlerContext:
    """The open transaction and the current time."""

    session: StoreSession
    now: datetime


@dataclass(frozen=True)
class HandlerResult:
    """The status and JSON body of a response."""

    body: Any
    status: int = HTTPStatus.OK


def require_vm(context: HandlerContext, vm_id: int) -> Vm:
    """Return the VM with this id.

    Raises:
        ApiError: 404 if there is none.
    """
    vm = context.session.find_vm(vm_id, context.now)
    if vm is None:
        raise not_found_error(f"VM {vm_id} does not exists.")
    return vm


def require_snapshot(context: HandlerContext, request: ApiRequest) -> Snapshot:
    """Return the snapshot with the id in the path.

    Raises:
        ApiError: 404 if there is none.
    """
    snapshot = context.session.find_snapshot(request.resource_id(), context.now)
    if snapshot is None:
        raise snapshot_not_found(request.resource_id())
    return snapshot


def snapshot_not_found(snapshot_id: int) -> ApiError:
    """Return the error for a snapshot that does not exist."""
    return not_found_error(f"Snapshot {snapshot_id} does not exist")


def check_not_busy(vm: Vm, now: datetime) -> None:
    """Raise an error if a snapshot of the VM is being created.

    Source: the vendor's recorded replies.
    """
    if lifecycle.vm_state(vm.times, now).is_snapshotting:
        raise bad_request_error(
            f"VM {vm.id} is currently being used to create a snapshot"
            " and no operation can be performed."
        )


def check_balance(context: HandlerContext) -> None:
    """Raise an error if the account's credit is used up. Source: the vendor's guide."""
    account = credit(context)
    if account["credit"] <= account["threshold"]:
        raise bad_request_error("Insufficient balance to create the resource")


def credit(context: HandlerContext) -> Json:
    """Return the account's credit and its threshold in US dollars."""
    stored = context.session.catalogue_items("credit")
    return stored[0] if stored else {"credit": catalogue.DEFAULT_CREDIT, "threshold": 0}


def check_name_free(context: HandlerContext, kind: NamedKind, name: str) -> None:
    """Raise an error if another resource of this kind has the name."""
    if context.session.name_exists(kind, name, context.now):
        label = kind.replace("_", " ").capitalize()
        raise ApiError(HTTPStatus.CONFLICT, f"{label} with name '{name}' already exists.")


def start_deletion(context: HandlerContext, kind: ResourceKind, resource: Snapshot | Vm) -> None:
    """Start the deletion of a VM or snapshot.

    Source: by analogy with public code that works with the API, a second deletion gets 409.

    Raises:
        ApiError: 409 if it is being deleted already.
    """
    deleted_at = (
        resource.deleted_at if isinstance(resource, Snapshot) else resource.times.deleted_at
    )
    if deleted_at is not None:
        label = "VM" if isinstance(resource, Vm) else "Snapshot"
        message = f"{label} {resource.id} is already being deleted"
        raise ApiError(HTTPStatus.CONFLICT, message, "conflict")
    context.session.delete(kind, resource.id, context.now)


def name_availability_result(
    context: HandlerContext, request: ApiRequest, kind: NamedKind
) -> HandlerResult:
    """Return whether no resource of this kind has the name in the path."""
    name = validate_name(str(request.path_params["name"]))
    available = not context.session.name_exists(kind, name, context.now)
    message = "This name is available" if available else "This name is not available"
    return HandlerResult({"name": name, "available": available, "message": message})
