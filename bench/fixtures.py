"""Generated snapshots and VMs in the format of the cloud's API, rendered as JSON.

Every VM has one snapshot per night; index 0 is the newest. The JSON of a snapshot consists of a
short head of its own and a long, cached tail that all VMs of the same kind share. No snapshot is
stored, so 100,000 snapshots need no memory.
"""

import json
from datetime import datetime, timedelta
from functools import cache
from typing import Any, NamedTuple

SNAPSHOTS_PER_VM = 25
FIRST_VM_ID = 790_000
FAILURE_INTERVAL = 100
_FIRST_ID = 1_701
_NEWEST = datetime(2026, 11, 20, 23, 0)  # noqa: DTZ001 - UTC; `snapshot_json` adds the zone
_VM_INTERVAL = timedelta(seconds=10)


class Kind(NamedTuple):
    """Properties that all VMs of a kind share."""

    name: str
    flavor: str
    region: str
    gpu: str
    label: str


_KINDS = (
    Kind("training-box", "n3-A100x1", "NORWAY-1", "A100-80G-PCIe", "nightly"),
    Kind("grafana", "n1-cpu-small", "CANADA-1", "", "weekly"),
    Kind("inference-a6000", "n3-RTX-A6000x1", "CANADA-1", "RTX-A6000", "before-upgrade"),
    Kind("ci-runner", "n1-cpu-medium", "US-1", "", "monthly"),
)


def vm_count(snapshots: int) -> int:
    """Return the number of VMs in an account with this number of snapshots."""
    return max(1, -(-snapshots // SNAPSHOTS_PER_VM))


def snapshot_id(index: int, count: int) -> int:
    """Return the id of a snapshot; the newest has the largest."""
    return _FIRST_ID + count - 1 - index


def snapshot_name(index: int, count: int) -> str:
    """Return the name of a snapshot."""
    vm = index % vm_count(count)
    return f"{vm_name(vm)}-{_kind(vm).label}-{_created_at(index, count).date()}"


def snapshot_json(index: int, count: int) -> bytes:
    """Return a snapshot as JSON, in the format of lists and single reads."""
    vm = index % vm_count(count)
    kind = _kind(vm)
    created_at = f"{_created_at(index, count).isoformat()}Z"
    status = "ERROR" if index % FAILURE_INTERVAL == FAILURE_INTERVAL // 2 else "SUCCESS"
    vm_id = FIRST_VM_ID + vm
    head = (
        f'{{"id":{snapshot_id(index, count)},"name":"{snapshot_name(index, count)}",'
        f'"description":"","vm_id":{vm_id},"region_id":1,"status":"{status}","is_image":false,'
        f'"size":{index % 90 + 4},'
        f'"has_floating_ip":false,"labels":["{kind.label}"],"created_at":"{created_at}",'
        f'"updated_at":"{created_at}","vm_name":"{vm_name(vm)}","volume_id":{vm_id + 1_000_000},'
        f'"volume_name":"{vm_name(vm)}-root",'
    )
    return head.encode() + _snapshot_tail(kind)


def vm_json(vm: int) -> bytes:
    """Return a VM as JSON."""
    kind = _kind(vm)
    vm_id = FIRST_VM_ID + vm
    head = f'{{"id":{vm_id},"name":"{vm_name(vm)}","fixed_ip":"10.0.{vm >> 8 & 255}.{vm & 255}",'
    return head.encode() + _vm_tail(kind)


def vm_name(vm: int) -> str:
    """Return the name of a VM."""
    return f"{_kind(vm).name}-{vm + 1}"


def _kind(vm: int) -> Kind:
    return _KINDS[vm % len(_KINDS)]


def _created_at(index: int, count: int) -> datetime:
    night, vm = divmod(index, vm_count(count))
    return _NEWEST - timedelta(days=night) - vm * _VM_INTERVAL


def _tail(fields: dict[str, Any]) -> bytes:
    return json.dumps(fields, separators=(",", ":")).encode()[1:]


@cache
def _snapshot_tail(kind: Kind) -> bytes:
    return _tail(
        {
            "region": kind.region,
            "vm_status": "ACTIVE",
            "vm_environment": _environment(kind),
            "vm_flavor": _flavor(kind),
            "vm_image": _image(kind),
            "vm_keypair": {
                "id": 651,
                "name": "team",
                "environment": _environment(kind),
                "public_key": "ssh-ed25519 AAAAAAAAAAAAAAAAAAAAAAAA team",
                "fingerprint": "00:06:29:9d:00:06:29:9d:00:06:29:9d:00:06:29:9d",
                "created_at": "2025-09-30T02:49:28",
            },
            "custom_image": None,
        }
    )


@cache
def _vm_tail(kind: Kind) -> bytes:
    volume = {"id": 1, "name": "root", "volume_type": "Cloud-SSD", "size": 100, "bootable": True}
    return _tail(
        {
            "status": "ACTIVE",
            "is_snapshotting": False,
            "power_state": "RUNNING",
            "vm_state": "active",
            "environment": _environment(kind),
            "flavor": _flavor(kind),
            "image": _image(kind),
            "keypair": {"name": "team"},
            "volume_attachments": [{"id": 1, "status": "ATTACHED", "volume": volume}],
            "floating_ip": None,
            "security_rules": [],
            "labels": [],
            "locked": False,
            "contract_id": None,
            "created_at": "2026-01-18T02:49:28",
        }
    )


def _environment(kind: Kind) -> dict[str, Any]:
    features = {"network_optimised": True, "green_status": "GREEN"}
    return {
        "id": 51,
        "name": f"team-{kind.region.lower()}",
        "region": kind.region,
        "created_at": "2025-09-30T02:49:28",
        "features": features,
    }


def _flavor(kind: Kind) -> dict[str, Any]:
    features = ("network_optimised", "no_reboot", "no_hibernation", "no_snapshot", "api_only")
    return {
        "id": 101,
        "name": kind.flavor,
        "display_name": kind.flavor,
        "region_name": kind.region,
        "cpu": 28,
        "ram": 120,
        "disk": 100,
        "ephemeral": 750,
        "gpu": kind.gpu,
        "gpu_count": 1 if kind.gpu else 0,
        "created_at": "2024-09-02T08:00:00",
        "labels": [{"id": 1, "label": "gpu" if kind.gpu else "cpu"}],
        "features": dict.fromkeys(features, False),
    }


def _image(kind: Kind) -> dict[str, Any]:
    return {
        "id": 303,
        "name": "Ubuntu Server 22.04 LTS R570 CUDA 12.8",
        "region_name": kind.region,
        "type": "Ubuntu",
        "version": "Server 22.04 LTS R570 CUDA 12.8",
        "size": 9_663_676_416,
        "display_size": "9 GB",
        "description": "",
        "snapshot": None,
        "is_public": True,
        "labels": [],
    }
