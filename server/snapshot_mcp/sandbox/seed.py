"""Seed data of a new embedded cloud: the VMs and snapshots of an invented team."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from snapshot_mcp.sandbox import catalogue, events, lifecycle
from snapshot_mcp.sandbox.entities import Image, Json, Snapshot, Vm, VmConfig
from snapshot_mcp.sandbox.serializers import custom_image, format_time
from snapshot_mcp.sandbox.store import CatalogueKind, StoreSession

FIRST_VM_ID = 793_701
STOPPED_VM_ID = 793_706
HIBERNATED_VM_ID = 793_708
DELETED_VM_ID = 793_655
FIRST_SNAPSHOT_ID = 1701
FIRST_IMAGE_ID = 20_471
FIRST_ENVIRONMENT_ID = 51
EMPTY_ENVIRONMENT_ID = 55


@dataclass(frozen=True)
class _SeedVm:
    name: str
    flavor: str
    environment: str
    age_days: int
    idle_status: str = "ACTIVE"
    volume_gb: int = 100
    floating_ip: str | None = None


@dataclass(frozen=True)
class _SeedSnapshot:
    vm: str
    days_ago: int
    name: str
    labels: tuple[str, ...] = ()
    description: str = ""
    final_status: str = "SUCCESS"


# name: (id, id of the region)
_ENVIRONMENTS = {
    "ml-norway": (51, 1),
    "ml-canada": (52, 2),
    "platform": (53, 2),
    "ml-us": (54, 3),
    "scratch": (55, 1),
}

_VMS = (
    _SeedVm("training-box", "n3-A100x1", "ml-norway", 310, floating_ip="198.51.100.21"),
    _SeedVm("grafana", "n1-cpu-small", "platform", 288, floating_ip="198.51.100.34", volume_gb=40),
    _SeedVm("ci-runner", "n1-cpu-medium", "platform", 264, volume_gb=200),
    _SeedVm("inference-a6000", "n3-RTX-A6000x1", "ml-canada", 203, floating_ip="198.51.100.47"),
    _SeedVm("train-a100-1", "n3-A100x1", "ml-canada", 171),
    _SeedVm("notebook-shared", "n3-RTX-A6000x1", "ml-us", 140, "SHUTOFF", volume_gb=80),
    _SeedVm("train-h100-8", "n3-H100x8", "ml-us", 66),
    _SeedVm("eval-sweep", "n3-A100x1", "ml-norway", 48, "HIBERNATED"),
)
_DELETED_VM = _SeedVm("trainer-2025", "n3-RTX-A6000x1", "ml-norway", 402)

_SNAPSHOTS = (
    *(
        _SeedSnapshot("training-box", day, "training-box-nightly-{date}", ("nightly",))
        for day in range(1, 8)
    ),
    *(
        _SeedSnapshot("training-box", day, "training-box-weekly-{date}", ("weekly", "keep"))
        for day in range(10, 46, 7)
    ),
    _SeedSnapshot(
        "training-box",
        23,
        "training-box-before-cuda-12-8",
        ("before-upgrade", "keep"),
        "Drivers and toolkit as they were before the move to CUDA 12.8",
    ),
    _SeedSnapshot(
        "training-box",
        93,
        "training-box-golden",
        ("golden", "keep"),
        "Clean install with drivers; new training machines start from its image",
    ),
    *(
        _SeedSnapshot("train-a100-1", day, "train-a100-1-weekly-{date}", ("weekly",))
        for day in (4, 11, 18)
    ),
    _SeedSnapshot("train-a100-1", 64, "train-a100-1-before-driver-570", ("before-upgrade",)),
    *(
        _SeedSnapshot("inference-a6000", day, "inference-a6000-weekly-{date}", ("weekly",))
        for day in (6, 13)
    ),
    _SeedSnapshot(
        "inference-a6000",
        20,
        "inference-a6000-weekly-{date}",
        ("weekly",),
        "Ended with an error",
        "ERROR",
    ),
    _SeedSnapshot(
        "inference-a6000",
        37,
        "inference-a6000-before-server-upgrade",
        ("before-upgrade",),
        "Last known good serving stack",
    ),
    _SeedSnapshot("grafana", 9, "grafana-monthly-{date}", ("monthly",)),
    _SeedSnapshot("grafana", 39, "grafana-monthly-{date}", ("monthly",)),
    _SeedSnapshot("grafana", 58, "grafana-before-major-upgrade", ("before-upgrade", "keep")),
    _SeedSnapshot(
        "notebook-shared", 30, "notebook-shared-end-of-course", ("keep",), "All homes included"
    ),
    _SeedSnapshot("notebook-shared", 75, "notebook shared (tmp)"),
    _SeedSnapshot(
        "eval-sweep", 31, "eval-sweep-baseline", ("baseline",), "State that the report cites"
    ),
    _SeedSnapshot(
        "trainer-2025",
        118,
        "trainer-2025-final",
        ("keep", "archive"),
        "Taken before the machine was deleted",
    ),
)
_SNAPSHOT_WITH_IMAGE = "training-box-golden"
_VM_FROM_IMAGE = "eval-sweep"


def seed_database(session: StoreSession, now: datetime) -> None:
    """Fill a new database.

    Args:
        session: the transaction in which the tables were created.
        now: the time from which ages count.
    """
    environments = {name: _environment(name, now) for name in _ENVIRONMENTS}
    items: dict[CatalogueKind, list[Json]] = {
        "region": catalogue.regions(),
        "environment": list(environments.values()),
        "image": catalogue.public_images(),
        "price": catalogue.prices(),
    }
    for kind, bodies in items.items():
        for body in bodies:
            session.add_catalogue_item(kind, body)
    vms = {vm.name: vm for vm in _vms(environments, now)}
    golden = next(
        snapshot for snapshot in _snapshots(vms, now) if snapshot.name == _SNAPSHOT_WITH_IMAGE
    )
    created_at = golden.started_at + timedelta(hours=7)
    image = Image(FIRST_IMAGE_ID, golden.id, "golden-training-2404", ["golden"], created_at)
    vms[_VM_FROM_IMAGE] = _with_image(vms[_VM_FROM_IMAGE], custom_image(golden, image))
    for vm in vms.values():
        if vm.id != DELETED_VM_ID:
            session.add_vm(vm)
            events.record_vm_creation(session, vm)
    for snapshot in _snapshots(vms, now):
        session.add_snapshot(snapshot)
        events.record_snapshot_creation(session, snapshot)
        if snapshot.id == golden.id:
            session.add_image(image)
            events.record_image_creation(session, image)


def _with_image(vm: Vm, image: Json) -> Vm:
    return replace(vm, config=replace(vm.config, image=image | {"snapshot": None}))


def _vms(environments: dict[str, Json], now: datetime) -> list[Vm]:
    existing_vms = [
        _vm(FIRST_VM_ID + index, seed_vm, environments[seed_vm.environment], now)
        for index, seed_vm in enumerate(_VMS)
    ]
    return [
        _vm(DELETED_VM_ID, _DELETED_VM, environments[_DELETED_VM.environment], now),
        *existing_vms,
    ]


def _environment(name: str, now: datetime) -> Json:
    environment_id, region_id = _ENVIRONMENTS[name]
    region = catalogue.regions()[region_id - 1]
    return {
        "id": environment_id,
        "name": name,
        "region": region["name"],
        "created_at": format_time(now - timedelta(days=420)),
        "features": region["features"],
    }


def _vm(vm_id: int, seed_vm: _SeedVm, environment: Json, now: datetime) -> Vm:
    region_id, region = _ENVIRONMENTS[seed_vm.environment][1], environment["region"]
    flavor = catalogue.flavor(seed_vm.flavor, region)
    config = VmConfig(
        environment=environment,
        flavor=flavor,
        image=catalogue.public_image(region_id, region, with_cuda=bool(flavor["gpu"])),
        keypair=_keypair(environment),
        volume_gb=seed_vm.volume_gb,
        region_id=region_id,
        security_rules=[_ssh_rule(now)] if seed_vm.floating_ip else [],
    )
    created_at = now - timedelta(days=seed_vm.age_days)
    times = lifecycle.VmTimes(created_at=created_at, idle_status=seed_vm.idle_status)
    return Vm(vm_id, seed_vm.name, config, times, [], seed_vm.floating_ip)


def _ssh_rule(now: datetime) -> Json:
    return {
        "id": 1,
        "direction": "ingress",
        "ethertype": "IPv4",
        "protocol": "tcp",
        "remote_ip_prefix": "198.51.100.0/24",
        "port_range_min": 22,
        "port_range_max": 22,
        "status": "SUCCESS",
        "created_at": format_time(now - timedelta(days=40)),
    }


def _keypair(environment: Json) -> Json:
    digits = f"{environment['id'] * 7919:08x}" * 4
    fingerprint = ":".join(digits[index : index + 2] for index in range(0, 32, 2))
    return {
        "id": environment["id"] + 600,
        "name": f"team-{environment['name']}",
        "public_key": f"ssh-ed25519 {'A' * 24} team-{environment['name']}",
        "fingerprint": fingerprint,
        "created_at": environment["created_at"],
    }


def _snapshots(vms: dict[str, Vm], now: datetime) -> Iterator[Snapshot]:
    """Return the snapshots, oldest first: ids rise with time, and the first of a VM is full."""
    usable_counts = Counter[str]()
    oldest_first = sorted(_SNAPSHOTS, key=lambda seed_snapshot: -seed_snapshot.days_ago)
    for index, seed_snapshot in enumerate(oldest_first):
        vm = vms[seed_snapshot.vm]
        day = now - timedelta(days=seed_snapshot.days_ago)
        yield _snapshot(
            FIRST_SNAPSHOT_ID + index,
            seed_snapshot,
            vm,
            started_at=day.replace(hour=2, minute=index, second=17),
            existing=usable_counts[vm.name],
        )
        usable_counts[vm.name] += seed_snapshot.final_status == "SUCCESS"


def _snapshot(
    snapshot_id: int, seed_snapshot: _SeedSnapshot, vm: Vm, *, started_at: datetime, existing: int
) -> Snapshot:
    return Snapshot(
        id=snapshot_id,
        name=seed_snapshot.name.format(date=f"{started_at:%Y-%m-%d}"),
        description=seed_snapshot.description,
        labels=list(seed_snapshot.labels),
        vm_id=vm.id,
        vm_name=vm.name,
        config=vm.config,
        has_floating_ip=vm.floating_ip is not None,
        started_at=started_at,
        size_gb=lifecycle.snapshot_size_gb(vm.config.volume_gb, vm.id, existing),
        final_status=seed_snapshot.final_status,
    )
