"""Two replicas behind a proxy, on one database and one cloud; one is killed and comes back."""

import os
import re
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import anyio
import httpx
import pytest
from mcp import Client
from mcp_types import ElicitResult
from pydantic import SecretStr

from snapshot_mcp.cloud.rate_limit import REQUESTS_PER_MINUTE
from snapshot_mcp.core.clock import utc_now
from snapshot_mcp.ledger.backend import open_ledger_backend
from snapshot_mcp.ledger.chain import Row
from tests.conftest import ERAS, SHOWS_PANELS, ask, refused
from tests.postgres.server import Server
from tests.processes.helpers import KEY, environment, run_command
from tests.replicas.door import Door, Passed, most_in_a_minute
from tests.replicas.load import Load, Told
from tests.replicas.replicas import Process, cloud, replicas
from tests.service.issuer import Issuer, ec_key
from tests.waiting import ANSWER_TIMEOUT_SECONDS

CALLS = int(os.environ.get("SNAPSHOT_MCP_SERVICE_CALLS", "2000"))
"""A quick look takes 200."""

LONGEST_LOAD_SECONDS = 1_800
pytestmark = [pytest.mark.slow, pytest.mark.postgres, pytest.mark.timeout(2 * LONGEST_LOAD_SECONDS)]

READS, WRITES, DELETES = "snapshots:read", "snapshots:write", "snapshots:delete"
SCOPES = (
    *[f"{READS} {WRITES} {DELETES}"] * 4,
    *[f"{READS} {WRITES}"] * 2,
    *[READS] * 2,
)
"""Of the eight principals, by their number."""

NEEDED = {"create_snapshot": WRITES, "delete_snapshot": DELETES, "apply_retention": DELETES}
SIGNING_KEY = "k" * 43
ENDS = ("done", "failed", "unknown")
DONE = ("created", "deleted", "pending")


async def test_replicas_do_nothing_twice_keep_the_limit_and_tell_what_happened(
    tmp_path: Path, postgres: Server
) -> None:
    url = postgres.make("replicas")
    with cloud(tmp_path / "cloud") as the_cloud, replicas(tmp_path, 2) as (first, second):
        async with Door([the_cloud.url]).open() as to_the_cloud:
            settings = {
                "SNAPSHOT_MCP_API_KEY": KEY,
                "SNAPSHOT_MCP_API_URL": f"{to_the_cloud.url}/v1",
                "SNAPSHOT_MCP_DATABASE_URL": url,
                "SNAPSHOT_MCP_TIMEOUT": "30",
                "SNAPSHOT_MCP_SIGNING_KEY": SIGNING_KEY,
                "SNAPSHOT_MCP_REQUESTS_PER_MINUTE": "100000",
            }
            issuer = Issuer("http://127.0.0.1:9/mcp", [ec_key("ec-1")])
            with issuer.serve():
                async with Door([first.url, second.url]).open() as front:
                    for replica in (first, second):
                        await anyio.to_thread.run_sync(
                            lambda it=replica: it.start(**settings, **issuer.settings)
                        )
                    tokens = tokens_of(issuer)
                    load = Load(front.url, CALLS, tokens, may)
                    load.snapshots, load.vms = await ids(the_cloud)
                    async with anyio.create_task_group() as group:
                        for number in range(len(SCOPES)):
                            group.start_soon(load.work, number)
                        group.start_soon(kill_and_return, load, second)
                    # Whoever starts settles what the killed one left open.
                    await anyio.to_thread.run_sync(second.kill)
                    await anyio.to_thread.run_sync(second.start)
                    for _ in range(2):
                        await Load(front.url, 10, tokens, may).work(0)
            rows = await ledger(tmp_path, url)
            snapshots = {it["id"]: it for it in await all_snapshots(the_cloud)}
            passed, arrivals = to_the_cloud.passed, to_the_cloud.arrivals
    told = load.told
    outcomes, most = Counter(it.outcome for it in told), most_in_a_minute(arrivals)
    print(  # noqa: T201 - with -s
        f"{load.answered} answered, {load.forbidden} of them forbidden,"
        f" {len(load.broken)} broken off: {Counter(it[-120:] for it in load.broken)};"
        f" {len(arrivals)} requests to the cloud, at most {most} in a minute; told: {outcomes}"
    )
    assert load.answered >= CALLS * 0.9
    # Only what the killed replica was answering, of each client two calls at most.
    assert len(load.broken) <= 2 * len(SCOPES)
    assert nothing_was_done_twice(passed) == []
    assert most <= REQUESTS_PER_MINUTE
    assert {it.status for it in passed} & {429} == set()
    assert [told_and_not_so(it, rows, passed, set(snapshots)) for it in told].count("") == len(told)
    assert still_open(rows) == []
    assert without_the_scope(told, rows) == []
    assert load.forbidden >= CALLS / 50
    done = run_command("ledger", "verify", env=environment(tmp_path, SNAPSHOT_MCP_DATABASE_URL=url))
    assert (done.returncode, done.stdout) == (0, "The ledger is intact.\n"), done.stderr
    assert len({row.owner for row in rows if row.event == "sent"}) >= 2
    assert sum(it.outcome in DONE for it in told) >= CALLS / 100
    if CALLS >= 1_000:  # a few of them have something to tidy up
        assert any((it.tool, it.outcome) == ("apply_retention", "deleted") for it in told)
    # With a key and a database of their own they keep nothing.
    assert written_by_replicas(tmp_path) == []


def written_by_replicas(folder: Path) -> list[str]:
    """The files in their data folders, beside the log of each, which the test puts there."""
    files = (it.relative_to(folder) for it in folder.glob("replica-*/**/*"))
    return [str(it) for it in files if not it.name.startswith("log-")]


async def kill_and_return(load: Load, replica: Process) -> None:
    """Kill a replica when a third of the calls is over, and let it return a while later."""
    for part, action in ((3, replica.kill), (2, replica.start)):
        with anyio.fail_after(LONGEST_LOAD_SECONDS):
            while load.answered < CALLS / part:  # noqa: ASYNC110 - the load knows no events
                await anyio.sleep(0.02)
        await anyio.to_thread.run_sync(action)


async def all_snapshots(the_cloud: Process) -> list[dict[str, int]]:
    async with httpx.AsyncClient(
        headers={"api_key": KEY}, timeout=ANSWER_TIMEOUT_SECONDS
    ) as client:
        found: list[dict[str, int]] = []
        for page in range(1, 100):
            address = f"{the_cloud.url}/v1/core/snapshots?page={page}&pageSize=100"
            items = (await client.get(address)).json()["snapshots"]
            found += items
            if len(items) < 100:
                break
        return found


async def ids(the_cloud: Process) -> tuple[list[int], list[int]]:
    """The ids of the snapshots and of the VMs that the cloud begins with."""
    snapshots = await all_snapshots(the_cloud)
    async with httpx.AsyncClient(
        headers={"api_key": KEY}, timeout=ANSWER_TIMEOUT_SECONDS
    ) as client:
        address = f"{the_cloud.url}/v1/core/virtual-machines?page=1&pageSize=100"
        vms = (await client.get(address)).json()["instances"]
    return [it["id"] for it in snapshots], [it["id"] for it in vms]


async def ledger(folder: Path, url: str) -> list[Row]:
    with open_ledger_backend(folder, SecretStr(url), utc_now) as records:
        assert await records.ledger.unsettled() == []
        return await records.ledger.rows()


def nothing_was_done_twice(passed: Sequence[Passed]) -> list[str]:
    """What the cloud accepted more than once: a name that was made, an id that was deleted."""
    accepted = [it for it in passed if it.method != "GET" and 200 <= it.status < 300]
    names = Counter(it.name for it in accepted if it.method == "POST")
    paths = Counter(it.path for it in accepted if it.method == "DELETE")
    return [key for key, times in (names | paths).items() if times > 1]


def told_and_not_so(
    told: Told, rows: Sequence[Row], passed: Sequence[Passed], there: set[int]
) -> str:
    """Why what was told does not agree with the ledger and the cloud; empty when it does."""
    accepted = [it for it in passed if it.method != "GET" and it.status < 300]
    if told.tool == "create_snapshot":
        done = any(it.name == told.name for it in accepted)
        events = {row.event for row in rows if f'"{told.name}"' in row.arguments}
    else:
        done = any(it.path.endswith(f"/{told.snapshot_id}") for it in accepted)
        events = {row.event for row in rows if row.target == told.snapshot_id}
    if told.outcome in DONE and not (done and "done" in events):
        return f"{told} was told, but the ledger says {events} and the cloud {done}"
    if told.outcome == "deleted" and told.snapshot_id in there:
        return f"{told} was told, but it is there"
    if told.outcome == "failed" and done:
        return f"{told} was told, but it was done"
    return ""


def may(client: int, tool: str) -> bool:
    return NEEDED[tool] in SCOPES[client]


def tokens_of(issuer: Issuer) -> list[str]:
    """One for each principal, with the scopes of its number."""
    far = int(time.time()) + 3_600
    return [
        issuer.token(scope, sub=f"principal-{number}", exp=far)
        for number, scope in enumerate(SCOPES)
    ]


def without_the_scope(told: Sequence[Told], rows: Sequence[Row]) -> list[str]:
    """What was done, or even recorded, for a principal that may not do it."""
    done = [f"{it}" for it in told if it.outcome in DONE and not may(it.client, it.tool)]
    for row in rows:
        number = re.search(r"principal-(\d)", row.principal)
        assert number is not None, row.principal
        if not may(int(number[1]), row.tool):
            done.append(f"{row}")
    return done


def still_open(rows: Sequence[Row]) -> list[str]:
    """The attempts that were sent and of which the ledger does not say how they ended."""
    sent = {row.attempt for row in rows if row.event == "sent"}
    return sorted(sent - {row.attempt for row in rows if row.event in ENDS})


@pytest.mark.parametrize("era", ERAS)
async def test_each_request_of_a_session_may_reach_another_replica(
    tmp_path: Path, postgres: Server, era: str
) -> None:
    url = postgres.make(f"either_{era[:4]}")
    with replicas(tmp_path, 2) as both:
        for replica in both:
            await anyio.to_thread.run_sync(
                lambda it=replica: it.start(
                    SNAPSHOT_MCP_DATABASE_URL=url, SNAPSHOT_MCP_SIGNING_KEY=SIGNING_KEY
                )
            )
        async with (
            Door([it.url for it in both]).open() as front,
            Client(f"{front.url}/mcp", mode=era) as client,
        ):
            for _ in range(4):
                assert (await client.list_tools()).tools
                await ask(client, "list_snapshots", limit=1)
            target = (await ask(client, "list_snapshots", limit=1))["snapshots"][0]["id"]
            plan = await ask(client, "delete_snapshot", snapshot_id=target)
            commit = {"plan_token": plan["plan_token"], "confirm": plan["confirm_with"]}
            assert await client.call_tool("delete_snapshot", {"snapshot_id": target} | commit)
    assert {it.status for it in front.passed} <= {200, 202, 405}


@pytest.mark.parametrize("era", ERAS)
async def test_a_client_of_the_older_era_cannot_be_asked_by_a_replica_nor_show_the_panel(
    tmp_path: Path, postgres: Server, era: str
) -> None:
    url = postgres.make(f"human_{era[:4]}")
    with replicas(tmp_path, 1) as (replica,):
        await anyio.to_thread.run_sync(
            lambda: replica.start(
                SNAPSHOT_MCP_DATABASE_URL=url,
                SNAPSHOT_MCP_SIGNING_KEY=SIGNING_KEY,
                SNAPSHOT_MCP_CONSENT="human",
            )
        )
        async with Client(
            f"{replica.url}/mcp", mode=era, elicitation_callback=decline, extensions=SHOWS_PANELS
        ) as client:
            target = (await ask(client, "list_snapshots", limit=1))["snapshots"][0]["id"]
            if era == "legacy":
                told = await refused(client, "delete_snapshot", snapshot_id=target)
                assert "can neither ask a person nor show the panel" in told
            else:
                plan = await ask(client, "delete_snapshot", snapshot_id=target)
                commit = {"plan_token": plan["plan_token"], "confirm": plan["confirm_with"]}
                told = await refused(client, "delete_snapshot", snapshot_id=target, **commit)
                assert "declined" in told


async def decline(context: object, params: object) -> ElicitResult:  # noqa: ARG001 - the SDK's names
    return ElicitResult(action="decline")
