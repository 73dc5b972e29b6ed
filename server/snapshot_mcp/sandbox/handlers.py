"""What the cloud does and refuses, one function a call, each within one transaction."""

from dataclasses import dataclass, replace
from datetime import datetime
from http import HTTPStatus
from typing import Any

from snapshot_mcp.sandbox import events as happenings
from snapshot_mcp.sandbox import lifecycle
from snapshot_mcp.sandbox import serializers as replies
from snapshot_mcp.sandbox.entities import Image, Json, Snapshot, Vm
from snapshot_mcp.sandbox.errors import RefusalError, bad_request, name_taken, not_found
from snapshot_mcp.sandbox.request import ApiRequest, PageRequest, checked_name
from snapshot_mcp.sandbox.store import StoreSession

CONTRACTS = frozenset({77})


@dataclass(frozen=True)
class HandlerContext:
    """Where an action is done: the open transaction, and the time that it counts as now."""

    session: StoreSession
    now: datetime


@dataclass(frozen=True)
class HandlerResult:
    """What is answered, as JSON."""

    body: Any
    status: int = HTTPStatus.OK


def list_snapshots(desk: HandlerContext, ask: ApiRequest) -> HandlerResult:
    """Snapshots, newest first."""
    page = ask.page()
    total, found = desk.session.snapshots(ask.search(), page)
    items = [replies.whole_snapshot(snapshot, desk.now) for snapshot in found]
    return HandlerResult(
        replies.listing("snapshots", items, "Snapshots retrieved successfully", total, page)
    )


def get_snapshot(desk: HandlerContext, ask: ApiRequest) -> HandlerResult:
    """One snapshot. Its `status` is the number 200. Source: the vendor's recorded replies."""
    body = replies.whole_snapshot(_snapshot(desk, ask), desk.now)
    message = "Snapshot retrieved successfully"
    return HandlerResult({"status": int(HTTPStatus.OK), "message": message, "snapshot": body})


def create_snapshot(desk: HandlerContext, ask: ApiRequest) -> HandlerResult:
    """Begin a snapshot of a VM."""
    vm_id, fields = ask.id(), ask.fields()
    name, description, labels = fields.name(), fields.text("description"), fields.labels()
    vm = _vm(desk, vm_id)
    _refuse_unfit(vm, desk.now)
    if desk.session.taken("snapshot", name):
        raise name_taken("Snapshot", name)
    snapshot = replace(_next_snapshot(desk, vm), name=name, description=description, labels=labels)
    snapshot = replace(snapshot, id=desk.session.add_snapshot(snapshot))
    desk.session.occupy_vm(snapshot)
    happenings.snapshot_begun(desk.session, snapshot, vm.times.resting)
    body = replies.new_snapshot(snapshot, desk.now)
    message = "Snapshot creation is scheduled."
    return HandlerResult({"status": True, "message": message, "snapshot": body}, HTTPStatus.CREATED)


def _next_snapshot(desk: HandlerContext, vm: Vm) -> Snapshot:
    """What a snapshot of the VM would hold if it began now, still without a name."""
    earlier = desk.session.usable_snapshots(vm.id)
    return Snapshot(
        id=0,
        name="",
        description="",
        labels=[],
        vm_id=vm.id,
        vm_name=vm.name,
        config=vm.config,
        has_floating_ip=vm.floating_ip is not None,
        began=desk.now,
        gigabytes=lifecycle.snapshot_gigabytes(vm.config.volume_gb, vm.id, earlier),
    )


def delete_snapshot(desk: HandlerContext, ask: ApiRequest) -> HandlerResult:
    """Delete a snapshot and the image made from it. Source: the vendor's guide."""
    snapshot = _snapshot(desk, ask)
    if snapshot.status(desk.now) == "CREATING":
        raise RefusalError(
            HTTPStatus.CONFLICT,
            f"Snapshot {snapshot.id} is being created and cannot be deleted.",
            "conflict",
        )
    desk.session.remove_snapshot(snapshot.id)
    happenings.snapshot_deleted(desk.session, snapshot, desk.now)
    message = f"Snapshot {snapshot.id} is being deleted"
    if snapshot.image:
        message += f" together with its image {snapshot.image.id}"
    return HandlerResult({"status": True, "message": message})


def restore_snapshot(desk: HandlerContext, ask: ApiRequest) -> HandlerResult:
    """Make a new VM from a snapshot; the source VM is not touched, busy or not."""
    fields = ask.fields()
    name, contract = fields.name("new_vm_name"), fields.number("contract_id")
    snapshot = _ready_snapshot(desk, ask, "restored")
    if desk.session.taken("virtual_machine", name):
        raise name_taken("Virtual machine", name)
    vm = Vm(
        id=0,
        name=name,
        config=snapshot.config,
        times=lifecycle.VmTimes(born=desk.now, resting="ACTIVE"),
        labels=[],
        contract_id=contract if contract in CONTRACTS else None,
    )
    vm = replace(vm, id=desk.session.add_vm(vm))
    happenings.snapshot_restored(desk.session, snapshot, vm)
    body: Json = {
        "status": True,
        "message": "VM is scheduled for creation.",
        "instances": [replies.instance(vm, desk.now)],
    }
    if contract != vm.contract_id:
        # Source: the vendor's guide; the VM is made all the same, and billed on demand.
        body["errors"] = {"contract": f"Contract {contract} is not valid; the VM is on demand."}
    return HandlerResult(body)


def create_image(desk: HandlerContext, ask: ApiRequest) -> HandlerResult:
    """Make an image of a snapshot; it can have one only."""
    fields = ask.fields()
    name, labels = fields.name(), fields.labels()
    snapshot = _ready_snapshot(desk, ask, "used for an image")
    if snapshot.image:
        raise RefusalError(
            HTTPStatus.NOT_ACCEPTABLE,
            f"Snapshot {snapshot.id} already has the image {snapshot.image.id}.",
        )
    if desk.session.taken("image", name):
        raise name_taken("Image", name)
    image = Image(id=0, snapshot_id=snapshot.id, name=name, labels=labels, made=desk.now)
    image = replace(image, id=desk.session.add_image(image))
    happenings.image_made(desk.session, image)
    body = replies.custom_image(snapshot, image)
    return HandlerResult({"status": True, "message": "Image added successfully.", "image": body})


def name_availability(desk: HandlerContext, ask: ApiRequest) -> HandlerResult:
    """Whether a snapshot could have the name."""
    name = checked_name(str(ask.path["name"]))
    free = not desk.session.taken("snapshot", name)
    message = "Name is available" if free else "Name is already taken"
    return HandlerResult({"name": name, "available": free, "message": message})


def snapshot_events(desk: HandlerContext, ask: ApiRequest) -> HandlerResult:
    """What happened to a snapshot; told after its deletion too."""
    snapshot_id = ask.id()
    events = desk.session.events("snapshot", snapshot_id, desk.now)
    if not events:
        raise _no_snapshot(snapshot_id)
    items = [replies.event("snapshot", snapshot_id, happened) for happened in events]
    message = "Getting snapshot events successful"
    return HandlerResult({"status": True, "message": message, "snapshot_events": items})


def list_vms(desk: HandlerContext, ask: ApiRequest) -> HandlerResult:
    """VMs, oldest first."""
    page = ask.page()
    total, found = desk.session.vms(ask.search(), ask.query.get("environment") or None, page)
    items = [replies.instance(vm, desk.now) for vm in found]
    return HandlerResult(replies.listing("instances", items, "Getting VMs successful", total, page))


def get_vm(desk: HandlerContext, ask: ApiRequest) -> HandlerResult:
    """One VM."""
    body = replies.instance(_vm(desk, ask.id()), desk.now)
    return HandlerResult({"status": True, "message": "Getting VM successful", "instance": body})


def delete_vm(desk: HandlerContext, ask: ApiRequest) -> HandlerResult:
    """Delete a VM; its snapshots outlive it. Source: the vendor's OpenAPI document."""
    vm = _vm(desk, ask.id())
    _refuse_busy(vm, desk.now)
    desk.session.remove_vm(vm.id)
    happenings.vm_deleted(desk.session, vm, desk.now)
    return HandlerResult({"status": True, "message": f"VM {vm.id} is being deleted"})


def vm_events(desk: HandlerContext, ask: ApiRequest) -> HandlerResult:
    """What happened to a VM."""
    vm = _vm(desk, ask.id())
    events = desk.session.events("virtual_machine", vm.id, desk.now)
    items = [replies.event("virtual_machine", vm.id, happened) for happened in events]
    message = "Getting virtual machine events successful"
    return HandlerResult({"status": True, "message": message, "instance_events": items})


def list_regions(desk: HandlerContext, _ask: ApiRequest) -> HandlerResult:
    """The regions."""
    regions = desk.session.catalogue("region")
    return HandlerResult(
        {"status": True, "message": "Getting regions successful", "regions": regions}
    )


def list_environments(desk: HandlerContext, _ask: ApiRequest) -> HandlerResult:
    """The environments, all at once."""
    found = desk.session.catalogue("environment")
    return HandlerResult(
        replies.listing(
            "environments", found, "Getting environments successful", len(found), PageRequest()
        )
    )


def list_images(desk: HandlerContext, _ask: ApiRequest) -> HandlerResult:
    """The cloud's images and the team's own, grouped."""
    own = [
        replies.custom_image(snapshot, snapshot.image)
        for snapshot in desk.session.images()
        if snapshot.image
    ]
    groups = replies.image_groups(desk.session.catalogue("image") + own)
    return HandlerResult({"status": True, "message": "Getting images successful", "images": groups})


def pricebook(desk: HandlerContext, _ask: ApiRequest) -> HandlerResult:
    """Prices for an hour: a bare array, values as text. Source: the vendor's recorded replies."""
    return HandlerResult(desk.session.catalogue("price"))


def _vm(desk: HandlerContext, vm_id: int) -> Vm:
    vm = desk.session.vm(vm_id)
    if vm is None:
        raise not_found(f"VM {vm_id} does not exists.")
    return vm


def _snapshot(desk: HandlerContext, ask: ApiRequest) -> Snapshot:
    snapshot = desk.session.snapshot(ask.id())
    if snapshot is None:
        raise _no_snapshot(ask.id())
    return snapshot


def _no_snapshot(snapshot_id: int) -> RefusalError:
    return not_found(f"Snapshot {snapshot_id} does not exist.")


def _ready_snapshot(desk: HandlerContext, ask: ApiRequest, use: str) -> Snapshot:
    snapshot = _snapshot(desk, ask)
    if snapshot.status(desk.now) != "SUCCESS":
        raise bad_request(f"Snapshot {snapshot.id} is not ready to be {use}")
    return snapshot


def _refuse_busy(vm: Vm, now: datetime) -> None:
    """Refuse a VM of which a snapshot is being made. Source: the vendor's recorded replies."""
    if lifecycle.vm_state(vm.times, now).is_snapshotting:
        raise bad_request(
            f"VM {vm.id} is currently being used to create a snapshot"
            " and no operation can be performed."
        )


def _refuse_unfit(vm: Vm, now: datetime) -> None:
    """Refuse a VM that cannot be snapshotted now. Source: the vendor's guide."""
    _refuse_busy(vm, now)
    state = lifecycle.vm_state(vm.times, now)
    if vm.config.flavor["features"]["no_snapshot"]:
        raise bad_request(f"The flavor {vm.config.flavor['name']} does not support snapshots.")
    if state.status not in lifecycle.SNAPSHOTTABLE:
        raise bad_request(f"VM {vm.id} is {state.status}; it must be ACTIVE or SHUTOFF.")
    if vm.config.volume_gb > lifecycle.MAX_VOLUME_GB:
        raise bad_request(
            f"The volume of VM {vm.id} has {vm.config.volume_gb} GB;"
            f" a snapshot can have at most {lifecycle.MAX_VOLUME_GB} GB."
        )
