"""The command over Streamable HTTP, on a port of 127.0.0.1."""

import re
import signal
import sys
from collections.abc import Generator
from pathlib import Path

import httpx
import pytest
from mcp import Client

from snapshot_mcp import __version__
from tests.conftest import ERAS, ask
from tests.processes.conftest import Command
from tests.processes.helpers import (
    EMBEDDED_NOTE,
    KEY,
    TOOLS,
    environment,
    free_port,
    run_command,
    until,
)
from tests.processes.http_server import HttpServer, http_server
from tests.waiting import ANSWER_TIMEOUT_SECONDS

# Windows knows no signals between processes: there, terminating is all that can be done.
ENDINGS = [signal.SIGTERM] if sys.platform == "win32" else [signal.SIGTERM, signal.SIGINT]


def refused_to_serve(command: Command, folder: Path, *arguments: str) -> str:
    """The only line of a server that does not start with these arguments."""
    env = environment(folder, SNAPSHOT_MCP_API_KEY=KEY)
    ended = command("serve", "--transport", "http", *arguments, env=env)
    assert ended.returncode == 2, ended.stderr
    assert ended.stdout == ""
    assert ended.stderr.count("\n") == 1, ended.stderr
    assert ended.stderr.startswith("snapshot-mcp: ")
    assert KEY not in ended.stderr
    return ended.stderr


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Generator[HttpServer]:
    """One server for the tests that leave it as it was."""
    folder = tmp_path_factory.mktemp("http")
    with http_server(folder, free_port()) as server:
        assert list(folder.iterdir()) == []
        yield server
        assert server.output.count(EMBEDDED_NOTE) == 1
        assert not any("Traceback" in line for line in server.output)


def test_health_tells_the_version_and_the_cloud(server: HttpServer) -> None:
    answer = server.get("/health")
    assert re.fullmatch("[0-9a-f]{16}", answer.headers["x-request-id"])
    assert answer.json() == {
        "status": "ok",
        "version": __version__,
        "cloud": "embedded",
        "cloud_failing_since": None,
    }
    assert server.get("/elsewhere").status_code == 404


def test_metrics_are_not_shown_unasked(server: HttpServer) -> None:
    assert server.get("/metrics").status_code == 404


def test_a_foreign_host_is_refused(server: HttpServer) -> None:
    for host in ("evil.example", f"evil.example:{server.port}", f"127.0.0.1.evil:{server.port}"):
        assert server.post_ping(host=host).status_code == 421
    assert server.post_ping(host=f"localhost:{server.port}").status_code not in (403, 421)


def test_a_foreign_origin_is_refused(server: HttpServer) -> None:
    for origin in ("https://evil.example", "null", "http://127.0.0.1.evil.example"):
        assert server.post_ping(origin=origin).status_code == 403
    assert server.post_ping(origin=server.url).status_code not in (403, 421)


@pytest.mark.parametrize(("mode", "search"), [(ERAS[0], "grafana"), (ERAS[1], "notebook")])
async def test_a_client_of_either_era_lists_the_tools_and_creates_with_progress(
    server: HttpServer, mode: str, search: str
) -> None:
    told: list[float] = []

    async def note(progress: float, total: float | None, message: str | None) -> None:
        assert (total, bool(message)) == (2, True)
        told.append(progress)

    async with Client(f"{server.url}/mcp", mode=mode) as client:
        assert {tool.name for tool in (await client.list_tools()).tools} == TOOLS
        vms = await ask(client, "list_virtual_machines", search=search)
        order: dict[str, object] = {
            "vm_id": vms["virtual_machines"][0]["id"],
            "name": f"over-http-{mode}",
            "allow_interruption": True,
            "wait_seconds": 2,
        }
        made = await client.call_tool("create_snapshot", order, progress_callback=note)
        assert made.structured_content, made
        assert made.structured_content["outcome"] == "pending"
        listed = await ask(client, "list_snapshots", search="over-http-" + mode)
        assert [it["name"] for it in listed["snapshots"]] == [order["name"]]
    assert len(told) >= 2
    assert told == sorted(set(told))


# The SDK checks Host and Origin by itself for 127.0.0.1, ::1 and localhost alone.
@pytest.mark.parametrize("host", ["0.0.0.0", "::", "127.0.0.2"])  # noqa: S104 - to be refused
def test_an_address_that_others_could_reach_or_that_is_not_guarded_is_refused(
    command: Command, host: str, tmp_path: Path
) -> None:
    line = refused_to_serve(command, tmp_path, "--host", host, "--port", str(free_port()))
    assert "--host must be" in line
    assert "Use one of: 127.0.0.1, localhost, ::1." in line


def test_a_port_in_use_is_told_in_one_sentence_and_the_user_of_it_stays(
    server: HttpServer, tmp_path: Path
) -> None:
    line = refused_to_serve(run_command, tmp_path, "--port", str(server.port))
    assert f"Port {server.port} " in line
    assert server.is_up()


@pytest.mark.usefixtures("measured")
def test_every_signal_ends_the_server_and_its_port_can_be_used_again_at_once(
    tmp_path: Path,
) -> None:
    port = free_port()
    for ending in ENDINGS:
        # A connection that the server itself closes leaves its port in TIME_WAIT.
        with (
            http_server(tmp_path, port) as server,
            httpx.Client(timeout=ANSWER_TIMEOUT_SECONDS) as client,
        ):
            assert client.get(f"{server.url}/health").is_success
            server.process.send_signal(ending)
            until(lambda: server.process.poll() is not None, "the end")
            assert server.process.returncode != 2
            assert not any("Traceback" in line for line in server.output)
