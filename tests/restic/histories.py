"""Generated histories and policies; the same seed generates the same ones."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from random import Random
from zoneinfo import ZoneInfo

from snapshot_mcp.models.cloud import Snapshot
from snapshot_mcp.rules.retention_policy import KEEP_ALL, GroupBy, RetentionPolicy, parse_span

GUARDED = ("golden", "keep")
LABELS = ("db", "web", *GUARDED)
REGIONS = ("CANADA-1", "NORWAY-1", "US-1")
RULES = ("last", "hourly", "daily", "weekly", "monthly", "yearly")
MAX_LENGTH = 25
# New Year and its ISO weeks, a leap day, ends of months, and clock changes.
EDGES = [
    datetime(year, month, day)  # noqa: DTZ001 - the zone is set later
    for year in range(2012, 2025, 3)
    for month, day in ((1, 1), (12, 31), (3, 1), (3, 29), (10, 31), (10, 28), (11, 3), (3, 12))
]
SPANS = ("1h", "36h", "1d", "7d", "30d", "1m", "1m1d", "6m", "1y", "2y5m7d3h", "99999y", "99999h")


def generate_history(random: Random, zone: ZoneInfo, number: int) -> list[Snapshot]:
    """Return snapshots of `number` VMs, all with different times: restic may keep either of two."""
    snapshots: list[Snapshot] = []
    used_times: set[datetime] = set()
    for vm_id in range(1, number + 1):
        for time in _times(random, zone):
            unused = time.astimezone(UTC)
            while unused in used_times:
                unused += timedelta(microseconds=1)
            used_times.add(unused)
            snapshots.append(_snapshot(random, len(snapshots) + 1, vm_id, unused))
        # Newer versions of restic refuse a policy that would keep nothing of a group.
        snapshots[-1] = snapshots[-1].model_copy(update={"labels": GUARDED})
    random.shuffle(snapshots)
    return snapshots


def uncounted_snapshots(random: Random, snapshots: list[Snapshot]) -> list[Snapshot]:
    """Return as many snapshots that are not ready or have no time, which restic does not get."""
    statuses = ("ERROR", "CREATING", "THAWING", None)
    no_time = {"created_at": None}
    return [
        snapshot.model_copy(
            update={"id": snapshot.id + len(snapshots)}
            | (no_time if random.random() < 0.2 else {"status": random.choice(statuses)})
        )
        for snapshot in snapshots
    ]


def generate_policies(random: Random, zone: ZoneInfo, number: int) -> Iterator[RetentionPolicy]:
    for index in range(number):
        used = random.sample(RULES, random.randint(0, 4))
        within = random.choice(SPANS) if random.random() < 0.4 else None
        labels = random.sample(GUARDED, random.randint(1, 2)) if random.random() < 0.3 else []
        if not used and not within and not labels:
            used = ["daily"]
        by: GroupBy = ("vm", "vm", "label", "vm", "region")[index % 5] if used or within else "vm"
        counts = {
            f"keep_{rule}": random.choice([1, 2, 3, 5, random.randint(1, 30), KEEP_ALL])
            for rule in used
        }
        yield RetentionPolicy.model_validate(
            {
                **counts,
                "keep_within": parse_span(within) if within else None,
                "keep_labels": tuple(labels),
                "group_by": by,
                "time_zone": zone,
            }
        )


def _snapshot(random: Random, number: int, vm_id: int, time: datetime) -> Snapshot:
    return Snapshot(
        id=number,
        status="SUCCESS",
        vm_id=vm_id,
        created_at=time,
        region=random.choice(REGIONS),
        labels=tuple(random.sample(LABELS, random.choice([0, 0, 0, 1, 2]))),
    )


def _times(random: Random, zone: ZoneInfo) -> Iterator[datetime]:
    shape = random.choice([_steps, _steps, _anywhere, _near_an_edge])
    # A wrong clock: all, or the newest few, are dated far in the future.
    ahead = random.choice([0] * 8 + [3, MAX_LENGTH])
    for index, time in enumerate(shape(random, zone, random.randint(1, MAX_LENGTH))):
        yield time + timedelta(days=27_393) if index < ahead else time


def _steps(random: Random, zone: ZoneInfo, number: int) -> list[datetime]:
    """Return times of a schedule, some omitted, some twice."""
    hours = random.choice([1, 6, 24, 24, 48, 7 * 24, 30 * 24, 100 * 24, 365 * 24])
    last = random.choice(EDGES) + timedelta(minutes=random.randint(-4_000, 4_000))
    late = random.choice([0, 0, hours * 60])
    times = [
        last - timedelta(hours=hours * random.choice([index, index, index // 2 * 2, index * 3]))
        for index in range(number)
    ]
    # The schedule follows either the wall clock or the elapsed time.
    schedule_zone = random.choice([zone, UTC])
    return [
        (time - timedelta(minutes=random.randint(0, late))).replace(tzinfo=schedule_zone)
        for time in times
    ]


def _anywhere(random: Random, _: ZoneInfo, number: int) -> list[datetime]:
    days = random.choice([1, 10, 100, 1_000, 4_000])
    last = datetime(random.randint(2012, 2025), 11, 20, tzinfo=UTC)
    return [last - timedelta(seconds=random.randint(0, days * 86_400)) for _ in range(number)]


def _near_an_edge(random: Random, zone: ZoneInfo, number: int) -> list[datetime]:
    edges = random.sample(EDGES, random.randint(1, 4))
    return [
        (random.choice(edges) + timedelta(minutes=random.randint(-300, 300))).replace(
            tzinfo=zone, fold=random.randint(0, 1)
        )
        for _ in range(number)
    ]
