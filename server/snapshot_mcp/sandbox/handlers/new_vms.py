"""The handler that creates VMs from an image."""

from dataclasses import replace

from snapshot_mcp.sandbox import catalogue, events, lifecycle, serializers
from snapshot_mcp.sandbox.entities import Json, Vm, VmConfig
from snapshot_mcp.sandbox.errors import bad_request_error, not_found_error
from snapshot_mcp.sandbox.handlers.context import (
    HandlerContext,
    HandlerResult,
    check_balance,
    check_name_free,
)
from snapshot_mcp.sandbox.handlers.vm_settings import require_flavor
from snapshot_mcp.sandbox.request import MAX_NAME_LENGTH, ApiRequest

_MAX_COUNT = 20
# Source: the vendor's OpenAPI document. The embedded cloud uses those above the empty line.
_FIELDS = (
    "name",
    "environment_name",
    "image_name",
    "flavor_name",
    "key_name",
    "count",
    "labels",
    "assign_floating_ip",
    "callback_url",
    "create_bootable_volume",
    "enable_port_randomization",
    "enhanced_monitoring_enabled",
    "flavor",
    "profile",
    "security_rules",
    "user_data",
    "volume_name",
)


def create_vms(context: HandlerContext, request: ApiRequest) -> HandlerResult:
    """Create VMs from an image; several get numbered names."""
    fields = request.fields(*_FIELDS)
    name, labels, key_name = fields.name(), fields.labels(), fields.text("key_name")
    count = fields.number("count")
    if count is None or not 1 <= count <= _MAX_COUNT:
        raise bad_request_error(f"count must be a number from 1 to {_MAX_COUNT}.")
    environment = _find(context, "environment", fields.text("environment_name"), None)
    region = environment["region"]
    image = _find(context, "image", fields.text("image_name"), region)
    flavor = require_flavor(fields.text("flavor_name"), region)
    config = VmConfig(
        environment=environment,
        flavor=flavor,
        image=image,
        keypair=_keypair(environment, key_name),
        volume_gb=flavor["disk"],
        region_id=next(r["id"] for r in catalogue.regions() if r["name"] == region),
    )
    check_balance(context)
    names = [name] if count == 1 else [_numbered(name, index) for index in range(1, count + 1)]
    vms = [_create(context, vm_name, labels, config) for vm_name in names]
    items = [serializers.instance(vm, context.now) for vm in vms]
    message = "VM is scheduled for creation."
    return HandlerResult({"status": True, "message": message, "instances": items})


def _numbered(name: str, number: int) -> str:
    """Return the name with a number; a long name is shortened for it."""
    suffix = f"-{number}"
    return name[: MAX_NAME_LENGTH - len(suffix)] + suffix


def _create(context: HandlerContext, name: str, labels: list[str], config: VmConfig) -> Vm:
    check_name_free(context, "virtual_machine", name)
    times = lifecycle.VmTimes(created_at=context.now, idle_status="ACTIVE")
    vm = Vm(id=0, name=name, config=config, times=times, labels=labels)
    vm = replace(vm, id=context.session.add_vm(vm))
    events.record_vm_creation(context.session, vm)
    return vm


def _find(context: HandlerContext, kind: str, name: str, region: str | None) -> Json:
    items = context.session.catalogue_items("environment" if kind == "environment" else "image")
    if kind == "image":
        items += [
            serializers.custom_image(snapshot, snapshot.image) | {"snapshot": None}
            for snapshot in context.session.list_snapshots_with_image()
            if snapshot.image
        ]
    for item in items:
        if item["name"] == name and region in (None, item.get("region_name")):
            return item
    raise not_found_error(f"{kind.capitalize()} {name} does not exist")


def _keypair(environment: Json, name: str) -> Json:
    return {
        "id": environment["id"] + 600,
        "name": name,
        "public_key": f"ssh-ed25519 {'A' * 24} {name}",
        "fingerprint": ":".join(["00"] * 16),
        "created_at": environment["created_at"],
    }
