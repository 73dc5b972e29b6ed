"""Two replicas behind a proxy, with one database and one cloud; one is killed and restarted."""

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
from tests.conftest import ERAS, SHOWS_PANELS, call_tool, call_tool_error
from tests.postgres.server import Server
from tests.processes.helpers import KEY, environment, run_command
from tests.replicas.load import Load, ReportedChange
from tests.replicas.processes import ServerProcess, cloud, replicas
from tests.replicas.proxy import ForwardedRequest, Proxy, max_in_a_minute
from tests.service.issuer import Issuer, ec_key
from tests.waiting import ANSWER_TIMEOUT_SECONDS

CALLS = int(os.environ.get("SNAPSHOT_MCP_SERVICE_CALLS", "2000"))
"""Use 200 for a quick run."""

LOAD_TIMEOUT_SECONDS = 1_800
pytestmark = [pytest.mark.slow, pytest.mark.postgres, pytest.mark.timeout(2 * LOAD_TIMEOUT_SECONDS)]

READS, WRITES, DELETES = "snapshots:read", "snapshots:write", "snapshots:delete"
SCOPES = (
    *[f"{READS} {WRITES} {DELETES}"] * 4,
    *[f"{READS} {WRITES}"] * 2,
    *[READS] * 2,
)
"""Scopes of the eight principals, by client number."""

NEEDED = {"create_snapshot": WRITES, "delete_snapshot": DELETES, "apply_retention": DELETES}
SIGNING_KEY = "k" * 43
ENDS = ("done", "failed", "unknown")
DONE = ("created", "deleted", "pending")


async def test_replicas_do_nothing_twice_keep_the_rate_limit_and_report_correctly(
    tmp_path: Path, postgres: Server
) -> None:
    url = postgres.create_database("replicas")
    with cloud(tmp_path / "cloud") as cloud_process, replicas(tmp_path, 2) as (first, second):
        async with Proxy([cloud_process.url]).open() as cloud_proxy:
            settings = {
                "SNAPSHOT_MCP_API_KEY": KEY,
                "SNAPSHOT_MCP_API_URL": f"{cloud_proxy.url}/v1",
                "SNAPSHOT_MCP_DATABASE_URL": url,
                "SNAPSHOT_MCP_TIMEOUT": "30",
                "SNAPSHOT_MCP_SIGNING_KEY": SIGNING_KEY,
                "SNAPSHOT_MCP_REQUESTS_PER_MINUTE": "100000",
            }
            issuer = Issuer("http://127.0.0.1:9/mcp", [ec_key("ec-1")])
            with issuer.serve():
                async with Proxy([first.url, second.url]).open() as front:
                    for replica in (first, second):
                        await anyio.to_thread.run_sync(
                            lambda process=replica: process.start(**settings, **issuer.settings)
                        )
                    tokens = make_tokens(issuer)
                    load = Load(front.url, CALLS, tokens, is_allowed)
                    load.snapshots, load.vms = await find_ids(cloud_process)
                    async with anyio.create_task_group() as group:
                        for number in range(len(SCOPES)):
                            group.start_soon(load.work, number)
                        group.start_soon(kill_and_restart, load, second)
                    # The restarted replica settles what the killed one left unsettled.
                    await anyio.to_thread.run_sync(second.kill)
                    await anyio.to_thread.run_sync(second.start)
                    for _ in range(2):
                        await Load(front.url, 10, tokens, is_allowed).work(0)
            rows = await read_ledger(tmp_path, url)
            snapshots = {
                snapshot["id"]: snapshot for snapshot in await list_all_snapshots(cloud_process)
            }
            forwarded, arrivals = cloud_proxy.forwarded, cloud_proxy.arrivals
    reported = load.reported
    outcomes, most = Counter(change.outcome for change in reported), max_in_a_minute(arrivals)
    print(  # noqa: T201 - with -s
        f"{load.answered} answered, {load.forbidden} of them forbidden,"
        f" {len(load.broken)} broken off: {Counter(error[-120:] for error in load.broken)};"
        f" {len(arrivals)} requests to the cloud, at most {most} in a minute; reported: {outcomes}"
    )
    assert load.answered >= CALLS * 0.9
    # Only calls that the killed replica was answering: at most two per client.
    assert len(load.broken) <= 2 * len(SCOPES)
    assert find_duplicates(forwarded) == []
    assert most <= REQUESTS_PER_MINUTE
    assert {request.status for request in forwarded} & {429} == set()
    assert [
        find_contradiction(change, rows, forwarded, set(snapshots)) for change in reported
    ].count("") == len(reported)
    assert find_unsettled(rows) == []
    assert find_unauthorized(reported, rows) == []
    assert load.forbidden >= CALLS / 50
    shared = {"SNAPSHOT_MCP_DATABASE_URL": url, "SNAPSHOT_MCP_SIGNING_KEY": SIGNING_KEY}
    done = run_command("ledger", "verify", env=environment(tmp_path, **shared))
    assert (done.returncode, done.stdout) == (0, "The ledger is intact.\n"), done.stderr
    assert len({row.owner for row in rows if row.event == "sent"}) >= 2
    assert sum(change.outcome in DONE for change in reported) >= CALLS / 100
    if CALLS >= 1_000:  # enough calls that some retention plans delete something
        assert any(
            (change.tool, change.outcome) == ("apply_retention", "deleted") for change in reported
        )
    # With a signing key and a database, replicas write no files.
    assert find_files_of_replicas(tmp_path) == []


def find_files_of_replicas(folder: Path) -> list[str]:
    """Return the files in the data folders, except the logs of the test."""
    files = (file.relative_to(folder) for file in folder.glob("replica-*/**/*"))
    return [str(file) for file in files if not file.name.startswith("log-")]


async def kill_and_restart(load: Load, replica: ServerProcess) -> None:
    """Kill a replica after a third of the calls, and restart it after half of them."""
    for part, action in ((3, replica.kill), (2, replica.start)):
        with anyio.fail_after(LOAD_TIMEOUT_SECONDS):
            while load.answered < CALLS / part:  # noqa: ASYNC110 - the load has no events
                await anyio.sleep(0.02)
        await anyio.to_thread.run_sync(action)


async def list_all_snapshots(cloud_process: ServerProcess) -> list[dict[str, int]]:
    async with httpx.AsyncClient(
        headers={"api_key": KEY}, timeout=ANSWER_TIMEOUT_SECONDS
    ) as client:
        found: list[dict[str, int]] = []
        for page in range(1, 100):
            address = f"{cloud_process.url}/v1/core/snapshots?page={page}&pageSize=100"
            items = (await client.get(address)).json()["snapshots"]
            found += items
            if len(items) < 100:
                break
        return found


async def find_ids(cloud_process: ServerProcess) -> tuple[list[int], list[int]]:
    """Return the ids of the initial snapshots and VMs."""
    snapshots = await list_all_snapshots(cloud_process)
    async with httpx.AsyncClient(
        headers={"api_key": KEY}, timeout=ANSWER_TIMEOUT_SECONDS
    ) as client:
        address = f"{cloud_process.url}/v1/core/virtual-machines?page=1&pageSize=100"
        vms = (await client.get(address)).json()["instances"]
    return [snapshot["id"] for snapshot in snapshots], [entry["id"] for entry in vms]


async def read_ledger(folder: Path, url: str) -> list[Row]:
    with open_ledger_backend(folder, SecretStr(url), utc_now) as backend:
        assert await backend.ledger.unsettled() == []
        return await backend.ledger.rows()


def find_duplicates(forwarded: Sequence[ForwardedRequest]) -> list[str]:
    """Return the created names and deleted paths that the cloud accepted more than once."""
    accepted = [
        request for request in forwarded if request.method != "GET" and 200 <= request.status < 300
    ]
    names = Counter(request.name for request in accepted if request.method == "POST")
    paths = Counter(request.path for request in accepted if request.method == "DELETE")
    return [key for key, times in (names | paths).items() if times > 1]


def find_contradiction(
    reported: ReportedChange,
    rows: Sequence[Row],
    forwarded: Sequence[ForwardedRequest],
    remaining: set[int],
) -> str:
    """Return how a reported change contradicts the ledger or the cloud; empty if it does not."""
    accepted = [
        request for request in forwarded if request.method != "GET" and request.status < 300
    ]
    if reported.tool == "create_snapshot":
        done = any(request.name == reported.name for request in accepted)
        events = {row.event for row in rows if f'"{reported.name}"' in row.arguments}
    else:
        done = any(request.path.endswith(f"/{reported.snapshot_id}") for request in accepted)
        events = {row.event for row in rows if row.target == reported.snapshot_id}
    if reported.outcome in DONE and not (done and "done" in events):
        return f"{reported} was reported, but the ledger has {events} and the cloud {done}"
    if reported.outcome == "deleted" and reported.snapshot_id in remaining:
        return f"{reported} was reported, but the snapshot exists"
    if reported.outcome == "failed" and done:
        return f"{reported} was reported, but it was done"
    return ""


def is_allowed(client: int, tool: str) -> bool:
    return NEEDED[tool] in SCOPES[client]


def make_tokens(issuer: Issuer) -> list[str]:
    """Return one token for each principal, with its scopes."""
    far = int(time.time()) + 3_600
    return [
        issuer.token(scope, sub=f"principal-{number}", exp=far)
        for number, scope in enumerate(SCOPES)
    ]


def find_unauthorized(reported: Sequence[ReportedChange], rows: Sequence[Row]) -> list[str]:
    """Return what was done or recorded for a principal without the required scope."""
    done = [
        f"{change}"
        for change in reported
        if change.outcome in DONE and not is_allowed(change.client, change.tool)
    ]
    for row in rows:
        number = re.search(r"principal-(\d)", row.principal)
        assert number is not None, row.principal
        if not is_allowed(int(number[1]), row.tool):
            done.append(f"{row}")
    return done


def find_unsettled(rows: Sequence[Row]) -> list[str]:
    """Return the attempts that were sent and have no outcome in the ledger."""
    sent = {row.attempt for row in rows if row.event == "sent"}
    return sorted(sent - {row.attempt for row in rows if row.event in ENDS})


@pytest.mark.parametrize("era", ERAS)
async def test_each_request_of_a_session_can_reach_another_replica(
    tmp_path: Path, postgres: Server, era: str
) -> None:
    url = postgres.create_database(f"either_{era[:4]}")
    with replicas(tmp_path, 2) as processes:
        for replica in processes:
            await anyio.to_thread.run_sync(
                lambda process=replica: process.start(
                    SNAPSHOT_MCP_CLOUD="embedded",
                    SNAPSHOT_MCP_DATABASE_URL=url,
                    SNAPSHOT_MCP_SIGNING_KEY=SIGNING_KEY,
                )
            )
        async with (
            Proxy([process.url for process in processes]).open() as front,
            Client(f"{front.url}/mcp", mode=era) as client,
        ):
            for _ in range(4):
                assert (await client.list_tools()).tools
                await call_tool(client, "list_snapshots", limit=1)
            target = (await call_tool(client, "list_snapshots", limit=1))["snapshots"][0]["id"]
            plan = await call_tool(client, "delete_snapshot", snapshot_id=target)
            commit = {"plan_token": plan["plan_token"], "confirm": plan["confirm_with"]}
            assert await client.call_tool("delete_snapshot", {"snapshot_id": target} | commit)
    assert {request.status for request in front.forwarded} <= {200, 202, 405}


@pytest.mark.parametrize("era", ERAS)
async def test_a_replica_can_neither_ask_legacy_clients_nor_show_them_the_panel(
    tmp_path: Path, postgres: Server, era: str
) -> None:
    url = postgres.create_database(f"human_{era[:4]}")
    with replicas(tmp_path, 1) as (replica,):
        await anyio.to_thread.run_sync(
            lambda: replica.start(
                SNAPSHOT_MCP_CLOUD="embedded",
                SNAPSHOT_MCP_DATABASE_URL=url,
                SNAPSHOT_MCP_SIGNING_KEY=SIGNING_KEY,
                SNAPSHOT_MCP_CONSENT="human",
            )
        )
        async with Client(
            f"{replica.url}/mcp", mode=era, elicitation_callback=decline, extensions=SHOWS_PANELS
        ) as client:
            target = (await call_tool(client, "list_snapshots", limit=1))["snapshots"][0]["id"]
            if era == "legacy":
                text = await call_tool_error(client, "delete_snapshot", snapshot_id=target)
                assert "can neither ask a person nor show the panel" in text
            else:
                plan = await call_tool(client, "delete_snapshot", snapshot_id=target)
                commit = {"plan_token": plan["plan_token"], "confirm": plan["confirm_with"]}
                text = await call_tool_error(
                    client, "delete_snapshot", snapshot_id=target, **commit
                )
                assert "declined" in text


async def decline(context: object, params: object) -> ElicitResult:  # noqa: ARG001 - the SDK's names
    return ElicitResult(action="decline")
