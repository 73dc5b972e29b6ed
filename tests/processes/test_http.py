"""The command over Streamable HTTP, on a local port."""

import re
import signal
import sys
from collections.abc import Generator
from pathlib import Path

import httpx
import pytest
from mcp import Client

from snapshot_mcp import __version__
from tests.conftest import ERAS, call_tool
from tests.processes.conftest import Command
from tests.processes.helpers import (
    KEY,
    REQUESTED_NOTE,
    TOOLS,
    environment,
    free_port,
    run_command,
    until,
)
from tests.processes.http_server import HttpServer, http_server
from tests.waiting import ANSWER_TIMEOUT_SECONDS

# Windows has no signals between processes, only termination.
SIGNALS = [signal.SIGTERM] if sys.platform == "win32" else [signal.SIGTERM, signal.SIGINT]


def startup_error(command: Command, folder: Path, *arguments: str) -> str:
    """Return the only line of output of a server that does not start with these arguments."""
    env = environment(folder, SNAPSHOT_MCP_API_KEY=KEY)
    completed = command("serve", "--transport", "http", *arguments, env=env)
    assert completed.returncode == 2, completed.stderr
    assert completed.stdout == ""
    assert completed.stderr.count("\n") == 1, completed.stderr
    assert completed.stderr.startswith("snapshot-mcp: ")
    assert KEY not in completed.stderr
    return completed.stderr


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({}, "There is no API key"),
        ({"SNAPSHOT_MCP_API_KEY": ""}, "SNAPSHOT_MCP_API_KEY is empty"),
        ({"SNAPSHOT_MCP_API_KEY": " "}, "SNAPSHOT_MCP_API_KEY is empty"),
        ({"HYPERSTACK_API_KEY": ""}, "HYPERSTACK_API_KEY is empty"),
        ({"SNAPSHOT_MCP_BEARER_TOKEN": "t" * 32}, "There is no API key"),
        ({"SNAPSHOT_MCP_CLOUD": ""}, "There is no API key"),
    ],
    ids=str,
)
def test_a_service_without_a_key_does_not_start(
    command: Command, tmp_path: Path, settings: dict[str, str], reason: str
) -> None:
    env = environment(tmp_path, **settings)
    completed = command("serve", "--transport", "http", "--port", "0", env=env)
    assert (completed.returncode, completed.stdout) == (2, "")
    assert completed.stderr == (
        f"snapshot-mcp: {reason}, and a service uses the embedded cloud only on request."
        " Set SNAPSHOT_MCP_API_KEY, or set SNAPSHOT_MCP_CLOUD=embedded to serve the embedded"
        " cloud, which changes nothing in a real account.\n"
    )
    assert list(tmp_path.iterdir()) == []


def test_a_key_and_a_request_for_the_embedded_cloud_do_not_start_a_service(
    command: Command, tmp_path: Path
) -> None:
    env = environment(tmp_path, SNAPSHOT_MCP_API_KEY=KEY, SNAPSHOT_MCP_CLOUD="embedded")
    completed = command("serve", "--transport", "http", "--port", "0", env=env)
    assert (completed.returncode, completed.stdout) == (2, "")
    assert "SNAPSHOT_MCP_API_KEY is set, but SNAPSHOT_MCP_CLOUD" in completed.stderr
    assert KEY not in completed.stderr


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Generator[HttpServer]:
    """Start one server for the tests that do not end it."""
    folder = tmp_path_factory.mktemp("http")
    with http_server(folder, free_port()) as server:
        assert list(folder.iterdir()) == []
        yield server
        assert server.output.count(REQUESTED_NOTE) == 1
        assert not any("Traceback" in line for line in server.output)


def test_health_reports_the_version_and_the_cloud(server: HttpServer) -> None:
    response = server.get("/health")
    assert re.fullmatch("[0-9a-f]{16}", response.headers["x-request-id"])
    assert response.json() == {
        "status": "ok",
        "version": __version__,
        "cloud": "embedded",
        "cloud_failing_since": None,
    }
    assert server.get("/elsewhere").status_code == 404


def test_metrics_are_not_served_by_default(server: HttpServer) -> None:
    assert server.get("/metrics").status_code == 404


def test_a_foreign_host_is_rejected(server: HttpServer) -> None:
    for host in ("evil.example", f"evil.example:{server.port}", f"127.0.0.1.evil:{server.port}"):
        assert server.post_ping(host=host).status_code == 421
    assert server.post_ping(host=f"localhost:{server.port}").status_code not in (403, 421)


def test_a_foreign_origin_is_rejected(server: HttpServer) -> None:
    for origin in ("https://evil.example", "null", "http://127.0.0.1.evil.example"):
        assert server.post_ping(origin=origin).status_code == 403
    assert server.post_ping(origin=server.url).status_code not in (403, 421)


@pytest.mark.parametrize(("mode", "search"), [(ERAS[0], "grafana"), (ERAS[1], "notebook")])
async def test_a_client_of_each_era_lists_the_tools_and_creates_with_progress(
    server: HttpServer, mode: str, search: str
) -> None:
    reported: list[float] = []

    async def record_progress(progress: float, total: float | None, message: str | None) -> None:
        assert (total, bool(message)) == (2, True)
        reported.append(progress)

    async with Client(f"{server.url}/mcp", mode=mode) as client:
        assert {tool.name for tool in (await client.list_tools()).tools} == TOOLS
        vms = await call_tool(client, "list_virtual_machines", search=search)
        arguments: dict[str, object] = {
            "vm_id": vms["virtual_machines"][0]["id"],
            "name": f"over-http-{mode}",
            "allow_interruption": True,
            "wait_seconds": 2,
        }
        result = await client.call_tool(
            "create_snapshot", arguments, progress_callback=record_progress
        )
        assert result.structured_content, result
        assert result.structured_content["outcome"] == "pending"
        listed = await call_tool(client, "list_snapshots", search="over-http-" + mode)
        assert [snapshot["name"] for snapshot in listed["snapshots"]] == [arguments["name"]]
    assert len(reported) >= 2
    assert reported == sorted(set(reported))


# The SDK checks Host and Origin by default only for 127.0.0.1, ::1 and localhost.
@pytest.mark.parametrize("host", ["0.0.0.0", "::", "127.0.0.2"])  # noqa: S104 - must be rejected
def test_an_address_beyond_loopback_is_rejected(
    command: Command, host: str, tmp_path: Path
) -> None:
    line = startup_error(command, tmp_path, "--host", host, "--port", str(free_port()))
    assert "--host must be" in line
    assert "Use one of: 127.0.0.1, localhost, ::1." in line


def test_a_port_in_use_is_reported_and_its_server_keeps_running(
    server: HttpServer, tmp_path: Path
) -> None:
    line = startup_error(run_command, tmp_path, "--port", str(server.port))
    assert f"Port {server.port} " in line
    assert server.is_up()


@pytest.mark.slow
@pytest.mark.usefixtures("measured")
def test_every_signal_ends_the_server_and_frees_its_port_immediately(
    tmp_path: Path,
) -> None:
    port = free_port()
    for end_signal in SIGNALS:
        # A connection that the server closes first leaves its port in TIME_WAIT.
        with (
            http_server(tmp_path, port) as server,
            httpx.Client(timeout=ANSWER_TIMEOUT_SECONDS) as client,
        ):
            assert client.get(f"{server.url}/health").is_success
            server.process.send_signal(end_signal)
            until(lambda: server.process.poll() is not None, "the end")
            assert server.process.returncode != 2
            assert not any("Traceback" in line for line in server.output)
