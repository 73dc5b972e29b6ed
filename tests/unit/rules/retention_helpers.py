"""Snapshots and decisions for the tests of retention."""

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

from snapshot_mcp.models.cloud import Snapshot
from snapshot_mcp.rules.retention import Decision, FindProtection, decide_retention
from snapshot_mcp.rules.retention_policy import RetentionPolicy

NOW = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
BERLIN, TOKYO, UTC_ZONE = ZoneInfo("Europe/Berlin"), ZoneInfo("Asia/Tokyo"), ZoneInfo("UTC")


def at(number: int, time: str | datetime | None, **fields: object) -> Snapshot:
    """Return a ready snapshot of VM 5 without labels; a time without an offset is UTC."""
    taken = datetime.fromisoformat(time) if isinstance(time, str) else time
    if taken is not None and taken.tzinfo is None:
        taken = taken.replace(tzinfo=UTC)
    about = {"id": number, "status": "SUCCESS", "vm_id": 5, "created_at": taken, "labels": ()}
    return Snapshot.model_validate(about | fields)


def decide(
    history: list[Snapshot],
    policy: RetentionPolicy,
    *,
    protected: FindProtection = lambda _: None,
    may_delete_last_copy: bool = False,
    now: datetime = NOW,
) -> list[Decision]:
    return decide_retention(
        history,
        policy,
        now=now,
        find_protection=protected,
        may_delete_last_copy=may_delete_last_copy,
    )
