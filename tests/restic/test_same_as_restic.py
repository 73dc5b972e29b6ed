"""Compare our decisions with those of the real restic on the same histories.

`make test-soak` compares 2,000 histories under 20 policies each.
"""

import json
import re
import shutil
import subprocess
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from random import Random
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

import pytest

from snapshot_mcp.models.cloud import Snapshot
from snapshot_mcp.rules.retention import Decision, decide_retention
from snapshot_mcp.rules.retention_policy import KEEP_ALL, MAX_COUNT, RetentionPolicy
from tests.restic.histories import RULES, generate_history, generate_policies, uncounted_snapshots
from tests.restic.repository import PASSWORD, Repository
from tests.scale import scale
from tests.waiting import START_TIMEOUT_SECONDS

pytestmark = [pytest.mark.restic, pytest.mark.no_cover]

# Zones without clock changes, with changes in either hemisphere, and with a half-hour offset.
ZONES = ("UTC", "Europe/Berlin", "America/New_York", "Australia/Sydney", "Asia/Kolkata")
HISTORIES, POLICIES = scale(quick=(100, 5), deep=(100, 10), soak=(400, 20))  # for each zone
GROUPS = {"vm": "host", "label": "tags", "region": "paths"}
NONE_REMAINING = dict.fromkeys(RULES, 0)
COUNTED = re.compile(r"(oldest, )?(\w+) (\d+) of (\w+)")


class Restic(NamedTuple):
    """The restic installed on this machine."""

    program: str
    supports_unlimited: bool
    """Whether it keeps the oldest while a count is not used up, and accepts unlimited counts."""

    def forget(self, repository: Repository, policy: RetentionPolicy) -> list[dict[str, Any]]:
        command = [self.program, "--no-cache", "--repo", str(repository.folder)]
        command += ["forget", "--dry-run", "--no-lock", "--json", *self._options(policy)]
        environment = {"RESTIC_PASSWORD": PASSWORD, "TZ": policy.time_zone.key}
        done = subprocess.run(
            command,
            env=environment,
            capture_output=True,
            timeout=START_TIMEOUT_SECONDS,
            check=False,
        )
        assert done.returncode == 0, done.stderr.decode()
        return json.loads(done.stdout)

    def _options(self, policy: RetentionPolicy) -> Iterable[str]:
        yield from ("--group-by", GROUPS[policy.group_by])
        unlimited = "unlimited" if self.supports_unlimited else str(MAX_COUNT)
        for rule, count in policy.counts:
            if count:
                yield from (f"--keep-{rule}", unlimited if count == KEEP_ALL else str(count))
        if policy.keep_within:
            yield from ("--keep-within", str(policy.keep_within))
        for label in policy.keep_labels:
            yield from ("--keep-tag", label)


class Kept(NamedTuple):
    """Restic's reasons to keep a snapshot, and what remains of each count after it.

    Some versions do not report the remaining counts.
    """

    reasons: list[str]
    remaining: dict[str, int] | None


@pytest.fixture(scope="module")
def restic() -> Restic:
    program = shutil.which("restic")
    if program is None:
        pytest.fail("restic is not installed: install it, or leave out -m restic")
    output = subprocess.run(
        [program, "version"],
        capture_output=True,
        text=True,
        timeout=START_TIMEOUT_SECONDS,
        check=True,
    ).stdout
    version = re.search(r"restic (\d+)\.(\d+)", output)
    assert version is not None, output
    return Restic(program, (int(version[1]), int(version[2])) >= (0, 16))


@pytest.mark.parametrize("zone_name", ZONES)
def test_the_same_snapshots_are_kept_and_removed_for_the_same_reasons(
    tmp_path: Path, restic: Restic, zone_name: str
) -> None:
    random = Random(f"histories of {zone_name}")  # noqa: S311 - the same ones in each run
    zone = ZoneInfo(zone_name)
    snapshots = generate_history(random, zone, HISTORIES)
    repository = create_repository(tmp_path, snapshots, zone)
    pairs = 0
    for index, policy in enumerate(generate_policies(random, zone, POLICIES)):
        answer = restic.forget(repository, policy)
        ours = decide(random, snapshots, policy, labels_protect=index % 2 == 1)
        assert differences(restic, ours, answer) == {}, policy
        pairs += len(answer)
    assert pairs > HISTORIES * POLICIES / 2


def create_repository(folder: Path, snapshots: Iterable[Snapshot], zone: ZoneInfo) -> Repository:
    repository = Repository(folder / "repository")
    for snapshot in snapshots:
        assert snapshot.created_at is not None
        repository.add(
            {
                "time": snapshot.created_at.astimezone(zone).isoformat(),
                "tree": "0" * 64,
                "hostname": f"vm-{snapshot.vm_id}",
                "paths": [f"/{snapshot.region}"],
                "tags": snapshot.labels,
                "username": str(snapshot.id),  # identifies the snapshot in the answer
            }
        )
    return repository


def decide(
    random: Random, snapshots: list[Snapshot], policy: RetentionPolicy, *, labels_protect: bool
) -> dict[int, Decision]:
    """Return our decisions by id, for the snapshots that restic has too.

    Args:
        random: generates the uncounted snapshots.
        snapshots: the snapshots in restic's repository.
        policy: the policy passed to restic.
        labels_protect: apply the labels as a protection instead of `keep_labels`.
    """

    def protection(snapshot: Snapshot) -> str | None:
        return (
            " ".join(label for label in policy.keep_labels if label in (snapshot.labels or ()))
            or None
        )

    # A policy with protections only is empty, and rejected.
    labels_protect = labels_protect and any(count for _, count in policy.counts)
    decisions = decide_retention(
        [*snapshots, *uncounted_snapshots(random, snapshots)],
        policy.model_copy(update={"keep_labels": ()}) if labels_protect else policy,
        now=datetime.now(UTC),
        find_protection=protection if labels_protect else lambda _: None,
        may_delete_last_copy=True,
    )
    known = {snapshot.id for snapshot in snapshots}
    assert all(decision.keep for decision in decisions if decision.snapshot.id not in known)
    return {
        decision.snapshot.id: decision for decision in decisions if decision.snapshot.id in known
    }


def differences(
    restic: Restic, ours: Mapping[int, Decision], answer: list[dict[str, Any]]
) -> dict[int, object]:
    """Return the disagreements with restic, by id."""
    kept, removed = parse_answer(answer)
    assert kept.keys() | removed == ours.keys()
    assert not kept.keys() & removed
    found: dict[int, object] = {}
    for number, decision in ours.items():
        reasons, remaining = in_restic_words(restic, decision)
        theirs = kept.get(number, Kept([], {}))
        same_remaining = (
            theirs.remaining is None
            or remaining.items() <= {**NONE_REMAINING, **theirs.remaining}.items()
        )
        if set(theirs.reasons) != reasons or not same_remaining:
            found[number] = (decision, theirs)
    return found


def parse_answer(answer: list[dict[str, Any]]) -> tuple[dict[int, Kept], set[int]]:
    """Return what restic keeps, and what it removes."""
    kept = {
        int(reason["snapshot"]["username"]): Kept(reason["matches"], reason.get("counters"))
        for group in answer
        for reason in group["reasons"] or ()
    }
    listed = {int(row["username"]) for group in answer for row in group["keep"] or ()}
    assert kept.keys() == listed
    return kept, {int(row["username"]) for group in answer for row in group["remove"] or ()}


def in_restic_words(restic: Restic, decision: Decision) -> tuple[set[str], dict[str, int]]:
    """Return a decision's reasons and remaining counts in the words of restic."""
    reasons: set[str] = set()
    remaining: dict[str, int] = {}
    for reason in decision.reasons:
        if counted := COUNTED.match(reason):
            oldest, rule, used, limit = counted.groups()
            if oldest and not restic.supports_unlimited:
                continue
            unlimited = KEEP_ALL if restic.supports_unlimited else MAX_COUNT - int(used)
            remaining[rule] = unlimited if limit == "all" else int(limit) - int(used)
            reasons.add(f"{'oldest ' if oldest else ''}{rule} snapshot")
        elif reason.startswith("within "):
            reasons.add(reason.removesuffix(" of the newest"))
        elif decision.keep:
            labels = reason.removeprefix("label ").removeprefix("protected: ").split()
            reasons |= {f"has tags [{label}]" for label in labels}
    return reasons, remaining
