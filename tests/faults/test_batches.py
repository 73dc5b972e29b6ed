"""A batch of forty deletions under faults: cloud, ledger and report agree.

`make test-soak` plays 150 batches.
"""

import shutil
import sqlite3
from collections import Counter
from contextlib import closing
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

import anyio
import pytest
from mcp import Client

from snapshot_mcp.operations.delete_snapshot import EARLIER_DELETION
from snapshot_mcp.settings.environment import CLOUD_FILE
from tests.conftest import ERAS, call_tool, result_text
from tests.faults.change_log import ENDS, LedgerEntry
from tests.faults.consistency import find_inconsistencies
from tests.faults.faults import Fault
from tests.faults.strategies import NO_FAULT, READ_FAULTS, WRITE_FAULTS
from tests.faults.transport import Exchange, FaultPlan
from tests.faults.world import FaultyWorld
from tests.scale import scale
from tests.tools.helpers import COPY_OLDEST, CROWDED_VM, copy_parameters

pytestmark = [pytest.mark.one_era, pytest.mark.no_cover]

BATCHES = scale(quick=5, deep=60, soak=150)
SIZE = 40
GONE = "it is already gone"


def crowded_world(folder: Path, template: Path) -> FaultyWorld:
    """Create a cloud in which one VM has one snapshot more than a batch deletes."""
    shutil.copy(template, folder / CLOUD_FILE)
    with closing(sqlite3.connect(folder / CLOUD_FILE)) as connection, connection:
        query = "SELECT count(*) FROM snapshots WHERE vm_id = ?"
        (there,) = connection.execute(query, (CROWDED_VM,)).fetchone()
        for place in range(SIZE + 1 - there):
            connection.execute(COPY_OLDEST, copy_parameters(place))
        connection.execute("DELETE FROM change_log")
    return FaultyWorld(folder)


class FaultKind(NamedTuple):
    """The shares of writes and reads with a fault, and whether the caller cancels."""

    writes: float
    reads: float
    cancels: bool = False


KINDS = (
    FaultKind(0.05, 0),
    FaultKind(0.3, 0),
    FaultKind(0, 0.03),
    FaultKind(0.02, 0.01, cancels=True),
    FaultKind(0.2, 0.1),
)


def random_faults(random: Random, kind: FaultKind) -> FaultPlan:
    """Return a plan with random faults."""

    def some(faults: list[Fault], share: float, number: int) -> list[Fault]:
        return [
            random.choice(faults) if random.random() < share else NO_FAULT for _ in range(number)
        ]

    return FaultPlan(
        [], some(WRITE_FAULTS, kind.writes, SIZE * 2), some(READ_FAULTS, kind.reads, SIZE * 6)
    )


async def apply_plan(
    world: FaultyWorld, client: Client, plan: dict[str, Any], cancel_at: int
) -> dict[str, Any]:
    """Return the report; empty after a refusal, or if the caller cancelled at that write."""
    with anyio.CancelScope() as scope:

        async def cancel(exchange: Exchange) -> None:
            if exchange.writing and len(world.log.writes) == cancel_at:
                scope.cancel()

        world.on_request = cancel
        commit = {"plan_token": plan["plan_token"], "confirm": plan["confirm_with"]}
        result = await client.call_tool("apply_retention", commit)
        assert not result.is_error or "Nothing was changed" in result_text(result)
        return result.structured_content or {}
    return {}


def last_event(entries: list[LedgerEntry], number: int) -> str:
    """Return the last ledger event of the deletion of one snapshot; empty if it was not sent."""
    events = [entry.event for entry in entries if entry.write.target == number]
    return events[-1] if events else ""


def check_report(report: dict[str, Any], planned: list[int], deletions: list[LedgerEntry]) -> None:
    """Check that every snapshot of the plan is in one list, in agreement with the ledger."""
    parts = {
        name: [snapshot["id"] for snapshot in report.get(name, [])]
        for name in ("deleted", "pending", "unknown", "skipped")
    }
    parts["not_attempted"] = report["not_attempted"]
    assert sorted(number for part in parts.values() for number in part) == sorted(planned)
    ends = {
        name: {last_event(deletions, number) for number in part} for name, part in parts.items()
    }
    assert ends["deleted"] | ends["pending"] <= {"done"}
    assert ends["unknown"] <= {"unknown"}
    assert ends["skipped"] <= {"", "failed", "unknown"}  # unknown: someone else is deleting it
    assert ends["not_attempted"] <= {""}
    stopped = bool(parts["unknown"] or parts["not_attempted"])
    assert report["outcome"] == "stopped" or not stopped


async def run_batch(
    world: FaultyWorld, random: Random, kind: FaultKind, counts: Counter[str]
) -> None:
    async with world.client(random.choice(ERAS)) as client:
        policy: dict[str, object] = {"keep_last": 1, "vm_id": CROWDED_VM, "limit": 100}
        plan = await call_tool(client, "plan_retention", **policy)
        planned = [row["id"] for row in plan["decisions"] if not row["keep"]]
        assert len(planned) == SIZE
        world.plan.replace_with(random_faults(random, kind))
        cancel_at = random.randint(1, 8) if kind.cancels else 0
        report = await apply_plan(world, client, plan, cancel_at)
        world.plan.replace_with(FaultPlan())
        await world.wait_until_settled()
        await world.log.deliver_delayed()
    entries = world.entries
    deletions = [entry for entry in entries if entry.write.tool == "delete_snapshot"]
    batch = [entry.event for entry in entries if entry.write.tool == "apply_retention"]
    assert list(find_inconsistencies(deletions, world.log.exchanges, world.changes, [])) == []
    gone = {change.number for change in world.changes if not change.by_others}
    assert gone <= set(planned)
    assert await world.verify_ledger() == []
    if batch != ["planned"]:
        assert batch[1] == "sent"
        assert batch[2] in ENDS
    if report:
        check_report(report, planned, deletions)
        going = (GONE, EARLIER_DELETION)
        kept = {row["id"] for row in report["skipped"] if row["why"] not in going}
        assert gone.isdisjoint(kept | set(report["not_attempted"]))
        # "Deleted" means that it is gone; someone else may have been faster.
        assert {change.number for change in world.changes} >= {
            row["id"] for row in report["deleted"]
        }
    counts[report.get("outcome", "cancelled")] += 1
    counts["gone"] += len(gone)
    counts["unknown"] += len(report.get("unknown", []))
    counts["skipped"] += len(report.get("skipped", []))


@pytest.mark.slow
async def test_the_report_of_a_batch_under_faults_agrees_with_cloud_and_ledger(
    tmp_path: Path, template: Path
) -> None:
    counts = Counter[str]()
    for number in range(BATCHES):
        folder = tmp_path / str(number)
        folder.mkdir()
        random = Random(f"batch {number}")  # noqa: S311 - the same ones each time
        await run_batch(crowded_world(folder, template), random, KINDS[number % len(KINDS)], counts)
        shutil.rmtree(folder)
    wanted = (
        "applied",
        "stopped",
        "cancelled",
        "gone",
        "skipped",
        *scale(quick=(), deep=("unknown",)),
    )
    assert min(counts[name] for name in wanted) > 0, counts
