"""Each kind of misbehaviour through the tools: in the embedded cloud, and on a real port."""

import re
import subprocess
from collections.abc import AsyncGenerator, Generator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest
from mcp import Client
from pydantic import SecretStr

from snapshot_mcp.core.clock import SYSTEM_CLOCK
from snapshot_mcp.mcp_server.app import create_server, embedded_transport
from snapshot_mcp.settings.environment import CLOUD_FILE, EMBEDDED_URL, Settings
from tests.conftest import ERAS, call_tool, result_text
from tests.processes.conftest import Command
from tests.processes.helpers import EMBEDDED_NOTE, MODULE, environment, run_command
from tests.tools.helpers import creation_arguments, make_plan, ready_snapshot
from tests.waiting import ANSWER_TIMEOUT_SECONDS, read_line, start_process

SETTING = "SNAPSHOT_MCP_EMBEDDED_MISBEHAVIOUR"
KEY = "sandbox"
PLACES = ("embedded", pytest.param("port", marks=pytest.mark.slow))


class RudeCloud:
    """A cloud that misbehaves, a server that uses it, and another client of the same cloud.

    Attributes:
        settings: the settings of the server.
        other: a client of the same cloud without its misbehaviour, as someone else would use it.
    """

    def __init__(self, settings: Settings, database_folder: Path) -> None:
        self.settings = settings
        plain = Settings(data_dir=database_folder)
        self.other = httpx.AsyncClient(
            transport=embedded_transport(plain, SYSTEM_CLOCK),
            base_url=EMBEDDED_URL,
            headers={"api_key": KEY},
        )

    def client(self, mode: str = ERAS[1]) -> AbstractAsyncContextManager[Client]:
        return Client(create_server(self.settings), mode=mode)

    async def delete(self, snapshot_id: int) -> None:
        response = await self.other.delete(f"/core/snapshots/{snapshot_id}")
        assert response.status_code == 200

    async def names(self) -> list[str]:
        rows = (await self.other.get("/core/snapshots")).json()["snapshots"]
        return [row["name"] for row in rows]


@contextmanager
def serve_sandbox(folder: Path, options: str) -> Generator[str]:
    """Run `snapshot-mcp sandbox --misbehave`, and yield the address of the API."""
    command = [*MODULE, "sandbox", "--port", "0", "--misbehave", options]
    pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
    with start_process(command, env=environment(folder), **pipes) as process:
        match = re.search(r"http://127\.0\.0\.1:\d+/v1", read_line(process.stdout))
        assert match
        assert read_line(process.stdout) == f"It misbehaves on purpose: {options}\n"
        yield match.group()


@asynccontextmanager
async def rude_cloud(
    folder: Path, place: str, options: str, seconds: float = 10
) -> AsyncGenerator[RudeCloud]:
    server_folder, cloud_folder = folder / "server", folder / "cloud"
    if place == "embedded":
        settings = Settings(data_dir=server_folder, timeout=seconds, embedded_misbehaviour=options)
        yield RudeCloud(settings, server_folder)
        return
    with serve_sandbox(cloud_folder, options) as url:
        key = SecretStr(KEY)
        settings = Settings(data_dir=server_folder, timeout=seconds, api_key=key, api_url=url)
        yield RudeCloud(settings, cloud_folder)


@pytest.mark.parametrize("place", PLACES)
class TestMisbehaviour:
    """One test for each kind."""

    async def test_stale_reads(self, tmp_path: Path, place: str) -> None:
        async with rude_cloud(tmp_path, place, "stale-reads=60") as cloud, cloud.client() as client:
            gone = (await ready_snapshot(client))["id"]
            await cloud.delete(gone)
            assert (await call_tool(client, "inspect_snapshot", snapshot_id=gone))["snapshot"]
            assert (await ready_snapshot(client))["id"] == gone

    async def test_stale_lists(self, tmp_path: Path, place: str) -> None:
        async with rude_cloud(tmp_path, place, "stale-lists=60") as cloud, cloud.client() as client:
            gone = (await ready_snapshot(client))["id"]
            await cloud.delete(gone)
            assert (await ready_snapshot(client))["id"] == gone
            arguments = {"snapshot_id": gone}
            with anyio.fail_after(ANSWER_TIMEOUT_SECONDS):  # a deletion takes a moment
                result = await client.call_tool("inspect_snapshot", arguments)
                while not result.is_error:
                    await anyio.sleep(0.1)
                    result = await client.call_tool("inspect_snapshot", arguments)
            assert f"no snapshot {gone}" in result_text(result)

    async def test_short_lists(self, tmp_path: Path, place: str) -> None:
        async with rude_cloud(tmp_path, place, "short-lists") as cloud, cloud.client() as client:
            page = await call_tool(client, "list_snapshots", limit=100)
            assert len(page["snapshots"]) == 30
            snapshot_id = page["snapshots"][0]["id"]
            content = await call_tool(client, "inspect_snapshot", snapshot_id=snapshot_id)
            assert content["snapshot"]["vm_name"]

    async def test_dropped_labels(self, tmp_path: Path, place: str) -> None:
        async with rude_cloud(tmp_path, place, "dropped-labels") as cloud, cloud.client() as client:
            arguments = await creation_arguments(client)
            made = await call_tool(
                client, "create_snapshot", **arguments, labels=["keep"], wait_seconds=0
            )
            assert made["outcome"] in ("created", "pending")
            assert not made["snapshot"].get("labels")

    @pytest.mark.slow
    async def test_slow_writes(self, tmp_path: Path, place: str) -> None:
        async with (
            rude_cloud(tmp_path, place, "slow-writes=3", seconds=2) as cloud,
            cloud.client() as client,
        ):
            arguments = await creation_arguments(client, "slow-one")
            made = await call_tool(client, "create_snapshot", **arguments, wait_seconds=0)
            assert made["outcome"] in ("created", "pending")
            assert (await cloud.names()).count("slow-one") == 1

    async def test_lost_replies(self, tmp_path: Path, place: str) -> None:
        async with rude_cloud(tmp_path, place, "lost-replies=1") as cloud, cloud.client() as client:
            commit, _ = await make_plan(client, "delete_snapshot", await ready_snapshot(client))
            deleted = await call_tool(client, "delete_snapshot", **commit)
            assert deleted["outcome"] == "deleted"
            assert len(await cloud.names()) == 29

    @pytest.mark.slow
    async def test_a_rate_limit(self, tmp_path: Path, place: str) -> None:
        options = "rate-limit=2/2,retry-after"
        async with rude_cloud(tmp_path, place, options) as cloud, cloud.client() as client:
            for _ in range(3):
                page = await call_tool(client, "list_virtual_machines", limit=100)
                assert page["virtual_machines"]


def test_the_server_says_that_its_cloud_misbehaves(tmp_path: Path) -> None:
    result = run_command(env=environment(tmp_path, **{SETTING: "stale-reads=5"}))
    note = "snapshot-mcp: the embedded cloud misbehaves on purpose: stale-reads=5."
    assert result.stderr.splitlines() == [EMBEDDED_NOTE, note]


def test_doctor_says_that_the_cloud_misbehaves(command: Command, tmp_path: Path) -> None:
    result = command("doctor", env=environment(tmp_path, **{SETTING: "stale-reads=5"}))
    assert "it misbehaves on purpose: stale-reads=5" in result.stdout


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        ({SETTING: "stale-lost=5"}, f'{SETTING}: There is no misbehaviour "stale-lost".'),
        ({SETTING: "short-lists", "SNAPSHOT_MCP_API_KEY": "k"}, f"{SETTING} is set, but the"),
    ],
)
def test_a_bad_setting_stops_the_start(
    command: Command, tmp_path: Path, settings: dict[str, str], problem: str
) -> None:
    result = command(env=environment(tmp_path, **settings))
    assert (result.returncode, result.stdout) == (2, "")
    assert problem in result.stderr


def test_a_bad_option_stops_the_sandbox(command: Command, tmp_path: Path) -> None:
    result = command("sandbox", "--misbehave", "slow-write=1", env=environment(tmp_path))
    assert result.returncode == 2
    assert "slow-writes=SECONDS" in result.stderr
    assert not (tmp_path / CLOUD_FILE).exists()
