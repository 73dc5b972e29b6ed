"""The arguments and result of a handler, and lookups that several handlers share."""

from dataclasses import dataclass
from datetime import datetime
from http import HTTPStatus
from typing import Any

from snapshot_mcp.sandbox import lifecycle
from snapshot_mcp.sandbox.entities import Snapshot, Vm
from snapshot_mcp.sandbox.errors import ApiError, bad_request_error, not_found_error
from snapshot_mcp.sandbox.request import ApiRequest, validate_name
from snapshot_mcp.sandbox.store import NamedKind, StoreSession


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
    vm = context.session.find_vm(vm_id)
    if vm is None:
        raise not_found_error(f"VM {vm_id} does not exists.")
    return vm


def require_snapshot(context: HandlerContext, request: ApiRequest) -> Snapshot:
    """Return the snapshot with the id in the path.

    Raises:
        ApiError: 404 if there is none.
    """
    snapshot = context.session.find_snapshot(request.resource_id())
    if snapshot is None:
        raise snapshot_not_found(request.resource_id())
    return snapshot


def snapshot_not_found(snapshot_id: int) -> ApiError:
    """Return the error for a snapshot that does not exist."""
    return not_found_error(f"Snapshot {snapshot_id} does not exist.")


def check_not_busy(vm: Vm, now: datetime) -> None:
    """Raise an error if a snapshot of the VM is being created.

    Source: the vendor's recorded replies.
    """
    if lifecycle.vm_state(vm.times, now).is_snapshotting:
        raise bad_request_error(
            f"VM {vm.id} is currently being used to create a snapshot"
            " and no operation can be performed."
        )


def name_availability_result(
    context: HandlerContext, request: ApiRequest, kind: NamedKind
) -> HandlerResult:
    """Return whether no resource of this kind has the name in the path."""
    name = validate_name(str(request.path_params["name"]))
    available = not context.session.name_exists(kind, name)
    message = "This name is available" if available else "This name is not available"
    return HandlerResult({"name": name, "available": available, "message": message})
