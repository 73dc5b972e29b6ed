"""The team whose machines a new embedded cloud holds: made up, and the same every time."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from snapshot_mcp.sandbox import catalogue, lifecycle
from snapshot_mcp.sandbox import events as happenings
from snapshot_mcp.sandbox.entities import Config, Image, Json, Snapshot, Vm
from snapshot_mcp.sandbox.serializers import bare_time
from snapshot_mcp.sandbox.store import Kind, StoreSession

FIRST_VM_ID = 793_701
DELETED_VM_ID = 793_655
FIRST_SNAPSHOT_ID = 1701
FIRST_IMAGE_ID = 20_471


@dataclass(frozen=True)
class _Machine:
    name: str
    flavor: str
    environment: str
    age_days: int
    resting: str = "ACTIVE"
    volume_gb: int = 100
    floating_ip: str | None = None


@dataclass(frozen=True)
class _Shot:
    vm: str
    days_ago: int
    name: str
    labels: tuple[str, ...] = ()
    description: str = ""
    outcome: str = "SUCCESS"


# name: (id, id of the region)
_ENVIRONMENTS = {"ml-norway": (51, 1), "ml-canada": (52, 2), "platform": (53, 2), "ml-us": (54, 3)}

_MACHINES = (
    _Machine("training-box", "n3-A100x1", "ml-norway", 310, floating_ip="198.51.100.21"),
    _Machine("grafana", "n1-cpu-small", "platform", 288, floating_ip="198.51.100.34", volume_gb=40),
    _Machine("ci-runner", "n1-cpu-medium", "platform", 264, volume_gb=200),
    _Machine("inference-a6000", "n3-RTX-A6000x1", "ml-canada", 203, floating_ip="198.51.100.47"),
    _Machine("train-a100-1", "n3-A100x1", "ml-canada", 171),
    _Machine("notebook-shared", "n3-RTX-A6000x1", "ml-us", 140, "SHUTOFF", volume_gb=80),
    _Machine("train-h100-8", "n3-H100x8", "ml-us", 66),
    _Machine("eval-sweep", "n3-A100x1", "ml-norway", 48, "HIBERNATED"),
)
_DELETED = _Machine("trainer-2025", "n3-RTX-A6000x1", "ml-norway", 402)

_SHOTS = (
    *(
        _Shot("training-box", day, "training-box-nightly-{date}", ("nightly",))
        for day in range(1, 8)
    ),
    *(
        _Shot("training-box", day, "training-box-weekly-{date}", ("weekly", "keep"))
        for day in range(10, 46, 7)
    ),
    _Shot(
        "training-box",
        23,
        "training-box-before-cuda-12-8",
        ("before-upgrade", "keep"),
        "Drivers and toolkit as they were before the move to CUDA 12.8",
    ),
    _Shot(
        "training-box",
        93,
        "training-box-golden",
        ("golden", "keep"),
        "Clean install with drivers; new training machines start from its image",
    ),
    *(_Shot("train-a100-1", day, "train-a100-1-weekly-{date}", ("weekly",)) for day in (4, 11, 18)),
    _Shot("train-a100-1", 64, "train-a100-1-before-driver-570", ("before-upgrade",)),
    *(
        _Shot("inference-a6000", day, "inference-a6000-weekly-{date}", ("weekly",))
        for day in (6, 13)
    ),
    _Shot(
        "inference-a6000",
        20,
        "inference-a6000-weekly-{date}",
        ("weekly",),
        "Ended with an error",
        "ERROR",
    ),
    _Shot(
        "inference-a6000",
        37,
        "inference-a6000-before-server-upgrade",
        ("before-upgrade",),
        "Last known good serving stack",
    ),
    _Shot("grafana", 9, "grafana-monthly-{date}", ("monthly",)),
    _Shot("grafana", 39, "grafana-monthly-{date}", ("monthly",)),
    _Shot("grafana", 58, "grafana-before-major-upgrade", ("before-upgrade", "keep")),
    _Shot("notebook-shared", 30, "notebook-shared-end-of-course", ("keep",), "All homes included"),
    _Shot("notebook-shared", 75, "notebook shared (tmp)"),
    _Shot("eval-sweep", 31, "eval-sweep-baseline", ("baseline",), "State that the report cites"),
    _Shot(
        "trainer-2025",
        118,
        "trainer-2025-final",
        ("keep", "archive"),
        "Taken before the machine was deleted",
    ),
)
_IMAGE_OF = "training-box-golden"


def seed(session: StoreSession, now: datetime) -> None:
    """Fill a new database.

    Args:
        session: the transaction in which the tables were made.
        now: what the ages count from.
    """
    environments = {name: _environment(name, now) for name in _ENVIRONMENTS}
    offers: dict[Kind, list[Json]] = {
        "region": catalogue.regions(),
        "environment": list(environments.values()),
        "image": catalogue.images(),
        "price": catalogue.prices(),
    }
    for kind, bodies in offers.items():
        for body in bodies:
            session.offer(kind, body)
    vms = _machines(environments, now)
    for vm in vms:
        if vm.id != DELETED_VM_ID:
            session.add_vm(vm)
            happenings.vm_made(session, vm)
    _take(session, {vm.name: vm for vm in vms}, now)


def _machines(environments: dict[str, Json], now: datetime) -> list[Vm]:
    living = [
        _vm(FIRST_VM_ID + place, machine, environments[machine.environment], now)
        for place, machine in enumerate(_MACHINES)
    ]
    return [_vm(DELETED_VM_ID, _DELETED, environments[_DELETED.environment], now), *living]


def _environment(name: str, now: datetime) -> Json:
    number, region_id = _ENVIRONMENTS[name]
    region = catalogue.regions()[region_id - 1]
    return {
        "id": number,
        "name": name,
        "region": region["name"],
        "created_at": bare_time(now - timedelta(days=420)),
        "features": region["features"],
    }


def _vm(vm_id: int, machine: _Machine, environment: Json, now: datetime) -> Vm:
    region_id, region = _ENVIRONMENTS[machine.environment][1], environment["region"]
    flavor = catalogue.flavor(machine.flavor, region)
    config = Config(
        environment=environment,
        flavor=flavor,
        image=catalogue.image(region_id, region, with_cuda=bool(flavor["gpu"])),
        keypair=_keypair(environment),
        volume_gb=machine.volume_gb,
        region_id=region_id,
    )
    born = now - timedelta(days=machine.age_days)
    times = lifecycle.VmTimes(born=born, resting=machine.resting)
    return Vm(vm_id, machine.name, config, times, [], machine.floating_ip)


def _keypair(environment: Json) -> Json:
    digits = f"{environment['id'] * 7919:08x}" * 4
    fingerprint = ":".join(digits[place : place + 2] for place in range(0, 32, 2))
    return {
        "id": environment["id"] + 600,
        "name": f"team-{environment['name']}",
        "public_key": f"ssh-ed25519 {'A' * 24} team-{environment['name']}",
        "fingerprint": fingerprint,
        "created_at": environment["created_at"],
    }


def _take(session: StoreSession, vms: dict[str, Vm], now: datetime) -> None:
    """Add the snapshots, oldest first, so that ids rise with time and the first is full."""
    taken: dict[str, int] = {}
    for place, shot in enumerate(sorted(_SHOTS, key=lambda shot: -shot.days_ago)):
        vm = vms[shot.vm]
        began = (now - timedelta(days=shot.days_ago)).replace(hour=2, minute=place, second=17)
        snapshot = _snapshot(FIRST_SNAPSHOT_ID + place, shot, vm, began, taken.get(vm.name, 0))
        session.add_snapshot(snapshot)
        happenings.snapshot_made(session, snapshot)
        taken[vm.name] = taken.get(vm.name, 0) + (shot.outcome == "SUCCESS")
        if shot.name == _IMAGE_OF:
            made = began + timedelta(hours=7)
            image = Image(FIRST_IMAGE_ID, snapshot.id, "golden-training-2404", ["golden"], made)
            session.add_image(image)
            happenings.image_made(session, image)


def _snapshot(number: int, shot: _Shot, vm: Vm, began: datetime, earlier: int) -> Snapshot:
    changing: dict[str, Any] = {"date": f"{began:%Y-%m-%d}"}
    return Snapshot(
        id=number,
        name=shot.name.format_map(changing),
        description=shot.description,
        labels=list(shot.labels),
        vm_id=vm.id,
        vm_name=vm.name,
        config=vm.config,
        has_floating_ip=vm.floating_ip is not None,
        began=began,
        gigabytes=lifecycle.snapshot_gigabytes(vm.config.volume_gb, vm.id, earlier),
        outcome=shot.outcome,
    )
