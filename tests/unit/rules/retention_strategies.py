"""Hypothesis strategies of snapshot histories and retention policies."""

from datetime import UTC, datetime, timedelta
from typing import Any, get_args
from zoneinfo import ZoneInfo

from hypothesis import strategies as st

from snapshot_mcp.models.cloud import Snapshot
from snapshot_mcp.rules.retention_policy import (
    KEEP_ALL,
    CountRule,
    GroupBy,
    RetentionPolicy,
    parse_span,
)
from tests.unit.rules.retention_helpers import BERLIN, NOW, TOKYO, UTC_ZONE


def mostly(*usual: st.SearchStrategy[Any], rarely: st.SearchStrategy[Any]) -> Any:  # noqa: ANN401
    """Draw from `usual` six times of seven; `one_of` would draw each equally often."""
    return st.integers(0, 6).flatmap(lambda draw: rarely if draw == 6 else usual[draw % len(usual)])


def with_counts(counts: dict[str, int], **others: object) -> RetentionPolicy:
    return RetentionPolicy.model_validate(counts | others)


moments = st.datetimes(datetime(2023, 1, 1), datetime(2027, 6, 1), timezones=st.just(UTC))  # noqa: DTZ001
near_moments = st.integers(0, 80).map(lambda half: NOW - timedelta(minutes=30 * half))
snapshots = st.builds(
    Snapshot,
    id=st.integers(1, 40),
    status=mostly(
        st.just("SUCCESS"),
        rarely=st.sampled_from(["CREATING", "ERROR", "DELETING", "THAWING", None]),
    ),
    vm_id=st.sampled_from([1, 1, 1, 2, 2, 3, None]),
    region=st.sampled_from(["NORWAY-1", "US-1", None]),
    region_id=st.sampled_from([1, 2, None]),
    created_at=mostly(near_moments, near_moments, near_moments, moments, rarely=st.none()),
    labels=st.sampled_from([(), (), (), ("keep",), ("WEB",), ("keep", "web"), None]),
    altered=mostly(st.none(), rarely=st.just(("labels",))),
)
# Without a minimum size, most histories would be too short for a deletion.
histories = st.sampled_from([0, 2, 12, 12]).flatmap(
    lambda min_size: st.lists(
        snapshots, min_size=min_size, max_size=25, unique_by=lambda snapshot: snapshot.id
    )
)
policies = st.builds(
    with_counts,
    st.dictionaries(
        st.sampled_from([f"keep_{rule}" for rule in get_args(CountRule)]),
        st.sampled_from([1, 2, 3, 7, KEEP_ALL]),
        max_size=2,
    ),
    keep_within=mostly(
        st.none(), rarely=st.sampled_from(["3h", "1d", "1m", "1y2m"]).map(parse_span)
    ),
    keep_labels=st.sampled_from([(), (), (), ("keep",), ("Keep", "web")]),
    group_by=st.sampled_from(get_args(GroupBy)),
    time_zone=st.sampled_from([UTC_ZONE, BERLIN, TOKYO, ZoneInfo("America/New_York")]),
).filter(lambda policy: not policy.is_empty)
