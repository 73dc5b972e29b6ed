"""Made-up snapshots and VMs in the cloud's shapes, rendered as JSON from cached pieces.

Every VM is taken once a night, one shortly after the other; row 0 is the newest. A row is a short
head of its own and a long tail that it shares with all rows of its VM's kind. Nothing is kept per
row, so 100,000 rows cost no memory.
"""

import json
from datetime import datetime, timedelta
from functools import cache
from typing import Any, NamedTuple

SNAPSHOTS_OF_A_VM = 25
FIRST_VM_ID = 790_000
FAILED_OF_EVERY = 100
_FIRST_ID = 1_701
_NEWEST = datetime(2026, 11, 20, 23, 0)  # noqa: DTZ001 - UTC; the zone is written by hand
_APART = timedelta(seconds=10)


class Kind(NamedTuple):
    """What VMs of a kind share."""

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
    """How many VMs have so many snapshots."""
    return max(1, -(-snapshots // SNAPSHOTS_OF_A_VM))


def snapshot_id(row: int, count: int) -> int:
    """Ids grow with time, so the newest row has the largest."""
    return _FIRST_ID + count - 1 - row


def snapshot_name(row: int, count: int) -> str:
    """The name of a row."""
    vm = row % vm_count(count)
    return f"{machine_name(vm)}-{_kind(vm).label}-{_taken(row, count).date()}"


def snapshot(row: int, count: int) -> bytes:
    """A snapshot as JSON, as the list and the single read tell it."""
    vm = row % vm_count(count)
    kind = _kind(vm)
    taken = f"{_taken(row, count).isoformat()}Z"
    status = "ERROR" if row % FAILED_OF_EVERY == FAILED_OF_EVERY // 2 else "SUCCESS"
    vm_id = FIRST_VM_ID + vm
    head = (
        f'{{"id":{snapshot_id(row, count)},"name":"{snapshot_name(row, count)}","description":"",'
        f'"vm_id":{vm_id},"region_id":1,"status":"{status}","is_image":false,"size":{row % 90 + 4},'
        f'"has_floating_ip":false,"labels":["{kind.label}"],"created_at":"{taken}",'
        f'"updated_at":"{taken}","vm_name":"{machine_name(vm)}","volume_id":{vm_id + 1_000_000},'
        f'"volume_name":"{machine_name(vm)}-root",'
    )
    return head.encode() + _tail_of_snapshot(kind)


def machine(vm: int) -> bytes:
    """A VM as JSON."""
    kind = _kind(vm)
    vm_id = FIRST_VM_ID + vm
    head = (
        f'{{"id":{vm_id},"name":"{machine_name(vm)}","fixed_ip":"10.0.{vm >> 8 & 255}.{vm & 255}",'
    )
    return head.encode() + _tail_of_machine(kind)


def machine_name(vm: int) -> str:
    """The name of a VM."""
    return f"{_kind(vm).name}-{vm + 1}"


def _kind(vm: int) -> Kind:
    return _KINDS[vm % len(_KINDS)]


def _taken(row: int, count: int) -> datetime:
    night, vm = divmod(row, vm_count(count))
    return _NEWEST - timedelta(days=night) - vm * _APART


def _tail(facts: dict[str, Any]) -> bytes:
    return json.dumps(facts, separators=(",", ":")).encode()[1:]


@cache
def _tail_of_snapshot(kind: Kind) -> bytes:
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
def _tail_of_machine(kind: Kind) -> bytes:
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
