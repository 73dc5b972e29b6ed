"""Our decisions, compared with those of the real restic on the same histories.

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
from tests.restic.histories import RULES, histories, not_counted, policies
from tests.restic.repository import PASSWORD, Repository
from tests.scale import scale
from tests.waiting import START_TIMEOUT_SECONDS

pytestmark = [pytest.mark.restic, pytest.mark.no_cover]

# Clocks that are never turned, turned in either half of the world, and half an hour off.
ZONES = ("UTC", "Europe/Berlin", "America/New_York", "Australia/Sydney", "Asia/Kolkata")
HISTORIES, POLICIES = scale(quick=(100, 5), deep=(100, 10), soak=(400, 20))  # for each zone
GROUPS = {"vm": "host", "label": "tags", "region": "paths"}
NONE_LEFT = dict.fromkeys(RULES, 0)
COUNTED = re.compile(r"(oldest, )?(\w+) (\d+) of (\w+)")


class Restic(NamedTuple):
    """The restic of this machine."""

    program: str
    knows_all: bool
    """Whether it keeps the oldest while a count is not used up, and has counts without end."""

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
        endless = "unlimited" if self.knows_all else str(MAX_COUNT)
        for rule, count in policy.counts:
            if count:
                yield from (f"--keep-{rule}", endless if count == KEEP_ALL else str(count))
        if policy.keep_within:
            yield from ("--keep-within", str(policy.keep_within))
        for label in policy.keep_labels:
            yield from ("--keep-tag", label)


class Kept(NamedTuple):
    """Why restic keeps a snapshot, in its words, and what is left of each count after it.

    Not every version tells what is left.
    """

    reasons: list[str]
    left: dict[str, int] | None


@pytest.fixture(scope="module")
def restic() -> Restic:
    program = shutil.which("restic")
    if program is None:
        pytest.fail("restic is not installed: install it, or leave out -m restic")
    told = subprocess.run(
        [program, "version"],
        capture_output=True,
        text=True,
        timeout=START_TIMEOUT_SECONDS,
        check=True,
    ).stdout
    version = re.search(r"restic (\d+)\.(\d+)", told)
    assert version is not None, told
    return Restic(program, (int(version[1]), int(version[2])) >= (0, 16))


@pytest.mark.parametrize("zone_name", ZONES)
def test_the_same_are_kept_and_removed_for_the_same_reasons(
    tmp_path: Path, restic: Restic, zone_name: str
) -> None:
    random = Random(f"histories of {zone_name}")  # noqa: S311 - the same ones each time
    zone = ZoneInfo(zone_name)
    snapshots = histories(random, zone, HISTORIES)
    repository = repository_of(tmp_path, snapshots, zone)
    pairs = 0
    for turn, policy in enumerate(policies(random, zone, POLICIES)):
        answer = restic.forget(repository, policy)
        ours = decided(random, snapshots, policy, labels_protect=turn % 2 == 1)
        assert differences(restic, ours, answer) == {}, policy
        pairs += len(answer)
    assert pairs > HISTORIES * POLICIES / 2


def repository_of(folder: Path, snapshots: Iterable[Snapshot], zone: ZoneInfo) -> Repository:
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
                "username": str(snapshot.id),  # as it comes, it names the snapshot in the answer
            }
        )
    return repository


def decided(
    random: Random, snapshots: list[Snapshot], policy: RetentionPolicy, *, labels_protect: bool
) -> dict[int, Decision]:
    """Our decisions by id, of what restic knows too.

    Args:
        random: decides about the snapshots that are not counted.
        snapshots: what restic knows.
        policy: what restic is told.
        labels_protect: the labels come as a protection in place of `keep_labels`.
    """

    def protection(snapshot: Snapshot) -> str | None:
        return " ".join(it for it in policy.keep_labels if it in snapshot.labels) or None

    # A policy that only protects is an empty one.
    labels_protect = labels_protect and any(count for _, count in policy.counts)
    decisions = decide_retention(
        [*snapshots, *not_counted(random, snapshots)],
        policy.model_copy(update={"keep_labels": ()}) if labels_protect else policy,
        now=datetime.now(UTC),
        find_protection=protection if labels_protect else lambda _: None,
        may_delete_last_copy=True,
    )
    known = {it.id for it in snapshots}
    assert all(it.keep for it in decisions if it.snapshot.id not in known)
    return {it.snapshot.id: it for it in decisions if it.snapshot.id in known}


def differences(
    restic: Restic, ours: Mapping[int, Decision], answer: list[dict[str, Any]]
) -> dict[int, object]:
    """Where we and restic do not agree, by id."""
    kept, removed = read(answer)
    assert kept.keys() | removed == ours.keys()
    assert not kept.keys() & removed
    found: dict[int, object] = {}
    for number, decision in ours.items():
        reasons, left = in_restics_words(restic, decision)
        theirs = kept.get(number, Kept([], {}))
        same_left = theirs.left is None or left.items() <= {**NONE_LEFT, **theirs.left}.items()
        if set(theirs.reasons) != reasons or not same_left:
            found[number] = (decision, theirs)
    return found


def read(answer: list[dict[str, Any]]) -> tuple[dict[int, Kept], set[int]]:
    """What restic keeps, and what it removes."""
    kept = {
        int(reason["snapshot"]["username"]): Kept(reason["matches"], reason.get("counters"))
        for group in answer
        for reason in group["reasons"] or ()
    }
    listed = {int(it["username"]) for group in answer for it in group["keep"] or ()}
    assert kept.keys() == listed
    return kept, {int(it["username"]) for group in answer for it in group["remove"] or ()}


def in_restics_words(restic: Restic, decision: Decision) -> tuple[set[str], dict[str, int]]:
    """Its reasons to keep a snapshot, and what is left after it of the counts that kept it."""
    reasons: set[str] = set()
    left: dict[str, int] = {}
    for reason in decision.reasons:
        if counted := COUNTED.match(reason):
            oldest, rule, used, whole = counted.groups()
            if oldest and not restic.knows_all:
                continue
            endless = KEEP_ALL if restic.knows_all else MAX_COUNT - int(used)
            left[rule] = endless if whole == "all" else int(whole) - int(used)
            reasons.add(f"{'oldest ' if oldest else ''}{rule} snapshot")
        elif reason.startswith("within "):
            reasons.add(reason.removesuffix(" of the newest"))
        elif decision.keep:
            labels = reason.removeprefix("label ").removeprefix("protected: ").split()
            reasons |= {f"has tags [{label}]" for label in labels}
    return reasons, left
