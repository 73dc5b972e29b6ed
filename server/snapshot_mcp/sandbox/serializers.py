"""From rows to the wire's JSON.

Source for every shape here: the vendor's recorded replies, where they differ from the vendor's
OpenAPI document (which calls lists and objects strings).
"""

from datetime import datetime
from typing import Any

from snapshot_mcp.sandbox import lifecycle
from snapshot_mcp.sandbox.entities import Event, Image, Json, Snapshot, Vm
from snapshot_mcp.sandbox.request import PageRequest

ORGANISATION_ID = 4021
USER_ID = 5117
_BYTES_PER_GB = 1024**3
# A VM has one bootable volume, so the VM's id tells the volume's.
_FIRST_VOLUME_ID = 1_000_000


def wire_time(moment: datetime) -> str:
    """A time as snapshots and images tell it."""
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def bare_time(moment: datetime) -> str:
    """A time as everything else tells it: UTC too, but without the Z."""
    return moment.strftime("%Y-%m-%dT%H:%M:%S")


def listing(key: str, items: list[Json], message: str, total: int, page: PageRequest) -> Json:
    """A list, or a page of it; page and page_size are null when no page was asked for."""
    return {
        "status": True,
        "message": message,
        "count": total,
        "page": page.number,
        "page_size": page.size,
        key: items,
    }


def new_snapshot(snapshot: Snapshot, now: datetime) -> Json:
    """A snapshot as the reply to its creation tells it; the size is 0 until it is ready."""
    status = snapshot.status(now)
    updated = lifecycle.snapshot_updated(snapshot.began, snapshot.gigabytes, snapshot.touched, now)
    return {
        "id": snapshot.id,
        "name": snapshot.name,
        "description": snapshot.description,
        "vm_id": snapshot.vm_id,
        "region_id": snapshot.config.region_id,
        "status": status,
        "is_image": snapshot.image is not None,
        "size": snapshot.gigabytes if status == "SUCCESS" else 0,
        "has_floating_ip": snapshot.has_floating_ip,
        "labels": snapshot.labels,
        "created_at": wire_time(snapshot.began),
        "updated_at": wire_time(updated),
    }


def whole_snapshot(snapshot: Snapshot, now: datetime) -> Json:
    """A snapshot as the list and the single read tell it."""
    config = snapshot.config
    return new_snapshot(snapshot, now) | {
        "region": config.environment["region"],
        "vm_name": snapshot.vm_name,
        "vm_status": lifecycle.vm_state(snapshot.vm, now).status if snapshot.vm else "DELETED",
        "volume_id": _FIRST_VOLUME_ID + snapshot.vm_id,
        "volume_name": f"{snapshot.vm_name}-root",
        "vm_environment": config.environment,
        "vm_flavor": config.flavor,
        "vm_image": config.image,
        "vm_keypair": config.keypair | {"environment": config.environment},
        "custom_image": custom_image(snapshot, snapshot.image) if snapshot.image else None,
    }


def custom_image(snapshot: Snapshot, image: Image) -> Json:
    """An image made from a snapshot; its size is in bytes."""
    return {
        "id": image.id,
        "name": image.name,
        "region_name": snapshot.config.environment["region"],
        "type": snapshot.config.image["type"],
        "version": snapshot.config.image["version"],
        "size": snapshot.gigabytes * _BYTES_PER_GB,
        "display_size": f"{snapshot.gigabytes} GB",
        "description": snapshot.description,
        "is_public": False,
        "created_at": wire_time(image.made),
        "labels": image.labels,
    }


def instance(vm: Vm, now: datetime) -> Json:
    """A VM."""
    config = vm.config
    state = lifecycle.vm_state(vm.times, now)
    return {
        "id": vm.id,
        "name": vm.name,
        "status": state.status,
        "is_snapshotting": state.is_snapshotting,
        "power_state": "RUNNING" if state.status == "ACTIVE" else "SHUTDOWN",
        "vm_state": "active" if state.status == "ACTIVE" else "stopped",
        "environment": config.environment | {"org_id": ORGANISATION_ID},
        "flavor": config.flavor,
        "image": config.image,
        "keypair": {"name": config.keypair["name"]},
        "volume_attachments": [_root_volume(vm)],
        "fixed_ip": f"10.0.{vm.id // 250 % 250}.{vm.id % 250 + 2}",
        "floating_ip": vm.floating_ip,
        "floating_ip_status": "ATTACHED" if vm.floating_ip else None,
        "security_rules": [],
        "labels": vm.labels,
        "locked": False,
        "os": config.image["version"],
        "contract_id": vm.contract_id,
        "created_at": bare_time(vm.times.born),
    }


def event(kind: str, subject: int, happened: Event) -> Json:
    """An event of a snapshot or a VM."""
    key = "snapshot_id" if kind == "snapshot" else "instance_id"
    return {
        "id": happened.id,
        key: subject,
        "user_id": USER_ID,
        "org_id": ORGANISATION_ID,
        "time": bare_time(happened.at),
        "type": happened.type,
        "reason": happened.reason,
        "object": kind,
        "message": happened.message,
    }


def image_groups(images: list[Json]) -> list[Json]:
    """Images by region and operating system."""
    groups: dict[tuple[str, str], list[Json]] = {}
    for image in images:
        groups.setdefault((image["region_name"], image["type"]), []).append(_listed(image))
    return [
        {"region_name": region, "type": system, "logo": "", "images": members}
        for (region, system), members in groups.items()
    ]


def _listed(image: Json) -> Json:
    """An image of the list has its labels as objects, by the vendor's OpenAPI document."""
    labels: list[Any] = image["labels"]
    numbered = [{"id": number, "label": label} for number, label in enumerate(labels, start=1)]
    return image | {"labels": numbered}


def _root_volume(vm: Vm) -> Json:
    return {
        "id": _FIRST_VOLUME_ID + vm.id,
        "status": "ATTACHED",
        "device": "/dev/vda",
        "protected": False,
        "created_at": bare_time(vm.times.born),
        "volume": {
            "id": _FIRST_VOLUME_ID + vm.id,
            "name": f"{vm.name}-root",
            "description": "",
            "volume_type": "Cloud-SSD",
            "size": vm.config.volume_gb,
            "bootable": True,
        },
    }
