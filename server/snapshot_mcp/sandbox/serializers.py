"""Serializers: entities to the JSON of the API.

Source for every format: the vendor's recorded replies. They differ from the vendor's OpenAPI
document, which declares lists and objects as strings.
"""

from datetime import datetime
from typing import Any

from snapshot_mcp.sandbox import lifecycle
from snapshot_mcp.sandbox.catalogue import ORGANISATION_ID
from snapshot_mcp.sandbox.entities import Event, Image, Json, Snapshot, Vm
from snapshot_mcp.sandbox.request import PageRequest

USER_ID = 5117
_BYTES_PER_GB = 1024**3
# A VM has at most one volume, so the volume's id follows from the VM's.
_FIRST_VOLUME_ID = 1_000_000


def format_time(time: datetime) -> str:
    """Return a time in the format of the API: in UTC, with a Z."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ")


def list_body(key: str, items: list[Json], message: str, total: int, page: PageRequest) -> Json:
    """Return the body of a list or page; page and page_size are null if no page was requested."""
    return {
        "status": True,
        "message": message,
        "page": page.number,
        "page_size": page.size,
        "count": total,
        key: items,
    }


def new_snapshot(snapshot: Snapshot, now: datetime) -> Json:
    """Return a snapshot in the format of a create response; the size is 0 until it is ready."""
    status = snapshot.status(now)
    updated_at = lifecycle.snapshot_updated_time(
        snapshot.started_at, snapshot.size_gb, snapshot.modified_at, now
    )
    return {
        "id": snapshot.id,
        "name": snapshot.name,
        "description": snapshot.description,
        "vm_id": snapshot.vm_id,
        "region_id": snapshot.config.region_id,
        "status": status,
        "is_image": snapshot.image is not None,
        "size": snapshot.size_gb if _has_size(snapshot, status) else 0,
        "has_floating_ip": snapshot.has_floating_ip,
        "labels": snapshot.labels,
        "created_at": format_time(snapshot.started_at),
        "updated_at": format_time(updated_at),
    }


def _has_size(snapshot: Snapshot, status: str) -> bool:
    return status == "SUCCESS" or (status == "DELETING" and snapshot.final_status == "SUCCESS")


def full_snapshot(snapshot: Snapshot, now: datetime) -> Json:
    """Return a snapshot in the format of list and read responses."""
    config = snapshot.config
    vm_state = lifecycle.vm_state(snapshot.vm_times, now) if snapshot.vm_times else None
    return new_snapshot(snapshot, now) | {
        "region": config.environment["region"],
        "vm_name": snapshot.vm_name,
        "vm_status": vm_state.status if vm_state else "DELETED",
        "volume_id": None,
        "volume_name": None,
        "vm_environment": config.environment,
        "vm_flavor": config.flavor | {"display_name": None},
        "vm_image": config.image,
        "vm_keypair": config.keypair | {"environment": _keypair_environment(config.environment)},
        "custom_image": custom_image(snapshot, snapshot.image) if snapshot.image else None,
    }


def _keypair_environment(environment: Json) -> Json:
    return {key: environment[key] for key in ("id", "name", "features")}


def custom_image(snapshot: Snapshot, image: Image) -> Json:
    """Return an image created from a snapshot; its size is in bytes."""
    return {
        "id": image.id,
        "name": image.name,
        "region_name": snapshot.config.environment["region"],
        "type": "Snapshot",
        "version": snapshot.name,
        "size": snapshot.size_gb * _BYTES_PER_GB,
        "display_size": f"{snapshot.size_gb} GB",
        "description": None,
        "is_public": False,
        "created_at": format_time(image.created_at),
        "labels": image.labels,
    }


def instance(vm: Vm, now: datetime) -> Json:
    """Return a VM."""
    config = vm.config
    state = lifecycle.vm_state(vm.times, now)
    # Source: the vendor's recorded reply to a restore.
    is_placed = state.status not in {"CREATING", "BUILD"}
    is_active = state.status == "ACTIVE"
    return {
        "id": vm.id,
        "name": vm.name,
        "status": state.status,
        "is_snapshotting": state.is_snapshotting,
        "power_state": ("RUNNING" if is_active else "SHUTDOWN") if is_placed else None,
        "vm_state": ("active" if is_active else "stopped") if is_placed else None,
        "environment": config.environment | {"org_id": ORGANISATION_ID},
        "flavor": config.flavor,
        "image": config.image,
        "keypair": {"name": config.keypair["name"]},
        "volume_attachments": [_root_volume(vm)] if config.has_bootable_volume else [],
        "fixed_ip": f"10.0.{vm.id // 250 % 250}.{vm.id % 250 + 2}" if is_placed else None,
        "floating_ip": vm.floating_ip,
        "floating_ip_status": "ATTACHED" if vm.floating_ip else None,
        "security_rules": config.security_rules,
        "labels": vm.labels,
        "locked": False,
        "os": config.image["version"],
        "contract_id": vm.contract_id,
        "cluster_id": None,
        "dedicated_inference_id": None,
        "enhanced_metrics": {"enabled": config.enhanced_metrics},
        "created_at": format_time(vm.times.created_at),
    }


def contract_vm(vm: Vm, now: datetime) -> Json:
    """Return a VM in the format of a contract's list; its usage is in seconds.

    Source: the vendor's OpenAPI document for the fields; the unit is ours.
    """
    return {
        "id": vm.id,
        "name": vm.name,
        "status": lifecycle.vm_state(vm.times, now).status,
        "flavor_name": vm.config.flavor["name"],
        "gpu_count": vm.config.flavor["gpu_count"],
        "created_at": format_time(vm.times.created_at),
        "termination_time": None,
        "total_usage_time": int((now - vm.times.created_at).total_seconds()),
        "cluster": None,
    }


def priced_part(name: str, amount: float, rate: float) -> Json:
    """Return one part of a resource and its price per hour in US dollars."""
    price = amount * rate
    return {
        "name": name,
        "type": name,
        "amount": int(amount),
        "rate": rate,
        "discounted_rate": rate,
        "price": price,
        "actual_price": price,
    }


def priced_resource(number: int, name: str, kind: str, status: str, parts: list[Json]) -> Json:
    """Return a resource and its price per hour in US dollars."""
    price = sum(part["price"] for part in parts)
    return {
        "infrahub_id": number,
        "name": name,
        "type": kind,
        "status": status,
        "host": None,
        "price": price,
        "actual_price": price,
        "resources": parts,
    }


def event_body(kind: str, resource_id: int, event: Event) -> Json:
    """Return an event of a snapshot or a VM."""
    key = "snapshot_id" if kind == "snapshot" else "instance_id"
    return {
        "id": event.id,
        key: resource_id,
        "user_id": USER_ID,
        "org_id": ORGANISATION_ID,
        "time": format_time(event.time),
        "type": event.type,
        "reason": event.reason,
        "object": kind,
        "message": event.message,
    }


def image_groups(images: list[Json]) -> list[Json]:
    """Return images grouped by region and operating system."""
    groups: dict[tuple[str, str], list[Json]] = {}
    for image in images:
        groups.setdefault((image["region_name"], image["type"]), []).append(
            with_label_objects(image)
        )
    return [
        {"region_name": region, "type": system, "logo": "", "images": members}
        for (region, system), members in groups.items()
    ]


def with_label_objects(image: Json) -> Json:
    """Return an image with its labels as objects. Source: the vendor's OpenAPI document."""
    labels: list[Any] = image["labels"]
    numbered = [{"id": number, "label": label} for number, label in enumerate(labels, start=1)]
    return image | {"labels": numbered}


def _root_volume(vm: Vm) -> Json:
    return {
        "id": _FIRST_VOLUME_ID + vm.id,
        "status": "ATTACHED",
        "device": "/dev/vda",
        "protected": False,
        "created_at": format_time(vm.times.created_at),
        "volume": {
            "id": _FIRST_VOLUME_ID + vm.id,
            "name": f"{vm.name}-root",
            "description": "",
            "volume_type": "Cloud-SSD",
            "size": vm.config.volume_gb,
            "bootable": True,
        },
    }
