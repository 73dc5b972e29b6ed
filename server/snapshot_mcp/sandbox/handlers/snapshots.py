"""Handlers of snapshots."""

from dataclasses import replace
from datetime import datetime
from http import HTTPStatus

from snapshot_mcp.sandbox import events, lifecycle, serializers
from snapshot_mcp.sandbox.catalogue import CONTRACT_IDS
from snapshot_mcp.sandbox.entities import Image, Json, Snapshot, Vm
from snapshot_mcp.sandbox.errors import ApiError, bad_request_error, not_found_error
from snapshot_mcp.sandbox.handlers.context import (
    HandlerContext,
    HandlerResult,
    check_balance,
    check_name_free,
    check_not_busy,
    name_availability_result,
    require_snapshot,
    snapshot_not_found,
    start_deletion,
)
from snapshot_mcp.sandbox.request import ApiRequest


def list_snapshots(context: HandlerContext, request: ApiRequest) -> HandlerResult:
    """List snapshots, newest first."""
    page = request.page()
    total, snapshots = context.session.list_snapshots(request.search(), page, context.now)
    items = [serializers.full_snapshot(snapshot, context.now) for snapshot in snapshots]
    return HandlerResult(
        serializers.list_body("snapshots", items, "Successfully retrieved Snapshots", total, page)
    )


def get_snapshot(context: HandlerContext, request: ApiRequest) -> HandlerResult:
    """Read one snapshot.

    The body's `status` is the number 200. Source: the vendor's recorded replies.
    """
    body = serializers.full_snapshot(require_snapshot(context, request), context.now)
    message = f"Retrieved snapshot {body['id']}"
    return HandlerResult({"status": int(HTTPStatus.OK), "message": message, "snapshot": body})


def create_snapshot(context: HandlerContext, request: ApiRequest) -> HandlerResult:
    """Create a snapshot of a VM."""
    vm_id, fields = request.resource_id(), request.fields("name", "description", "labels")
    name, description, labels = fields.name(), fields.text("description"), fields.labels()
    vm = context.session.find_vm(vm_id, context.now)
    if vm is None:
        raise not_found_error(f"VM {vm_id} was not found")
    _check_snapshottable(vm, context.now)
    check_name_free(context, "snapshot", name)
    check_balance(context)
    snapshot = replace(
        _new_snapshot(context, vm), name=name, description=description, labels=labels
    )
    snapshot = replace(snapshot, id=context.session.add_snapshot(snapshot))
    context.session.record_vm_snapshot(snapshot)
    events.record_snapshot_started(context.session, snapshot, vm.times.idle_status)
    body = serializers.new_snapshot(snapshot, context.now)
    message = "Snapshot creation is scheduled."
    return HandlerResult({"status": True, "message": message, "snapshot": body}, HTTPStatus.CREATED)


def _new_snapshot(context: HandlerContext, vm: Vm) -> Snapshot:
    """Return a snapshot of the VM that starts now, without id, name, description and labels."""
    existing = context.session.count_usable_snapshots(vm.id)
    return Snapshot(
        id=0,
        name="",
        description="",
        labels=[],
        vm_id=vm.id,
        vm_name=vm.name,
        config=vm.config,
        has_floating_ip=vm.floating_ip is not None,
        started_at=context.now,
        size_gb=lifecycle.snapshot_size_gb(vm.config.volume_gb, vm.id, existing),
    )


def delete_snapshot(context: HandlerContext, request: ApiRequest) -> HandlerResult:
    """Delete a snapshot and the image created from it. Source: the vendor's guide."""
    snapshot = require_snapshot(context, request)
    if snapshot.status(context.now) == "CREATING":
        raise ApiError(
            HTTPStatus.CONFLICT,
            f"Snapshot {snapshot.id} is currently being created and cannot be deleted yet",
            "conflict",
        )
    start_deletion(context, "snapshot", snapshot)
    events.record_snapshot_deletion(context.session, snapshot, context.now)
    message = f"Snapshot {snapshot.id} is being deleted"
    if snapshot.image:
        message += f" together with its image {snapshot.image.id}"
    return HandlerResult({"status": True, "message": message})


def restore_snapshot(context: HandlerContext, request: ApiRequest) -> HandlerResult:
    """Create a new VM from a snapshot; the source VM is not changed, and may be busy."""
    fields = request.fields("new_vm_name", "contract_id")
    name, contract_id = fields.name("new_vm_name"), fields.number("contract_id")
    snapshot = _require_ready_snapshot(context, request, "restored")
    check_name_free(context, "virtual_machine", name)
    check_balance(context)
    vm = Vm(
        id=0,
        name=name,
        config=snapshot.config,
        times=lifecycle.VmTimes(created_at=context.now, idle_status="ACTIVE"),
        labels=[],
        contract_id=contract_id if contract_id in CONTRACT_IDS else None,
    )
    vm = replace(vm, id=context.session.add_vm(vm))
    events.record_restore(context.session, snapshot, vm)
    body: Json = {
        "status": True,
        "message": "VM is scheduled for creation.",
        "instances": [serializers.instance(vm, context.now)],
    }
    if contract_id != vm.contract_id:
        # Source: the vendor's guide. The VM is created anyway, and billed on demand.
        message = f"Contract {contract_id} is not valid; the VM is on demand."
        body["errors"] = {"contract": message}
    return HandlerResult(body)


def create_image(context: HandlerContext, request: ApiRequest) -> HandlerResult:
    """Create an image from a snapshot, which can have only one."""
    fields = request.fields("name", "labels")
    name, labels = fields.name(), fields.labels()
    if context.session.find_snapshot(request.resource_id(), context.now) is None:
        raise not_found_error("Snapshot not found")
    snapshot = _require_ready_snapshot(context, request, "used for an image")
    if snapshot.image:
        raise ApiError(
            HTTPStatus.NOT_ACCEPTABLE,
            f"Snapshot {snapshot.id} already has the image {snapshot.image.id}.",
        )
    check_name_free(context, "image", name)
    check_balance(context)
    image = Image(id=0, snapshot_id=snapshot.id, name=name, labels=labels, created_at=context.now)
    image = replace(image, id=context.session.add_image(image))
    events.record_image_creation(context.session, image)
    body = serializers.custom_image(snapshot, image)
    return HandlerResult({"status": True, "message": "Image added successfully.", "image": body})


def name_availability(context: HandlerContext, request: ApiRequest) -> HandlerResult:
    """Return whether a snapshot name is free."""
    return name_availability_result(context, request, "snapshot")


def snapshot_events(context: HandlerContext, request: ApiRequest) -> HandlerResult:
    """List the events of a snapshot, including a deleted one, newest first."""
    snapshot_id = request.resource_id()
    past_events = context.session.list_events("snapshot", snapshot_id, context.now)
    if not past_events:
        raise snapshot_not_found(snapshot_id)
    items = [serializers.event_body("snapshot", snapshot_id, event) for event in past_events]
    name = context.session.snapshot_name(snapshot_id) or str(snapshot_id)
    message = f"Successfully retrieved events for Snapshot {name}"
    return HandlerResult({"status": True, "message": message, "snapshot_events": items})


def _require_ready_snapshot(context: HandlerContext, request: ApiRequest, use: str) -> Snapshot:
    snapshot = require_snapshot(context, request)
    if snapshot.status(context.now) != "SUCCESS":
        raise bad_request_error(f"Snapshot {snapshot.id} is not ready to be {use}")
    return snapshot


def _check_snapshottable(vm: Vm, now: datetime) -> None:
    """Raise an error if no snapshot of the VM can be created now. Source: the vendor's guide."""
    check_not_busy(vm, now)
    state = lifecycle.vm_state(vm.times, now)
    if vm.config.flavor["features"]["no_snapshot"]:
        raise bad_request_error(
            f"The flavor {vm.config.flavor['name']} does not support snapshots."
        )
    if state.status not in lifecycle.SNAPSHOTTABLE_STATUSES:
        raise bad_request_error(f"VM {vm.id} is {state.status}; it must be ACTIVE or SHUTOFF.")
    if vm.config.has_bootable_volume:
        raise bad_request_error(
            f"VM {vm.id} runs on a bootable volume; snapshots of it are not supported."
        )
