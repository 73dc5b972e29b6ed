"""The embedded cloud on a real port, in processes of its own."""

import os
import socket
import sqlite3
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from itertools import count
from pathlib import Path
from threading import Barrier, Event

import httpx
import pytest

from snapshot_mcp.core.errors import ConfigurationError
from snapshot_mcp.sandbox.serve import serve
from tests.sandbox.conftest import KEY, NEWEST, NOTEBOOK
from tests.sandbox.sandbox_process import SandboxProcess, start_sandbox
from tests.waiting import ANSWER_TIMEOUT_SECONDS, read_line, start_process, until

pytestmark = pytest.mark.usefixtures("measured")


@pytest.fixture
def database(tmp_path: Path) -> Path:
    return tmp_path / "data" / "cloud.db"


def test_a_server_prints_address_and_key_when_it_accepts_connections(database: Path) -> None:
    with start_sandbox(database) as server:
        assert KEY in server.first_line
        assert not database.exists()
        assert server.request("GET", "/core/snapshots").json()["count"] == 30
        assert httpx.get(server.url + "/core/snapshots").status_code == 401
        large = httpx.post(
            f"{server.url}/core/virtual-machines/{NOTEBOOK}/snapshots",
            headers={"api_key": KEY},
            content=b" " * 3_000_000,
        )
        assert large.status_code == 400
        assert server.interrupt() == (0 if sys.platform != "win32" else 1)


def test_a_response_does_not_wait_for_acknowledgements(database: Path) -> None:
    with start_sandbox(database) as server, httpx.Client(headers={"api_key": KEY}) as client:

        def is_quick() -> bool:
            return client.get(server.url + "/core/regions").elapsed.total_seconds() < 0.03

        # A response that waits takes at least 40 ms. On a busy machine, others may take as long.
        until(is_quick, "a quick response")


def test_a_port_in_use_is_named_in_the_error(database: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ConfigurationError, match=rf"Port {port} .* cannot be used"):
            serve(port=port, database=database, api_key=KEY)
    assert not database.exists()


def test_a_number_that_is_not_a_port_is_rejected(database: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"Port 70000 .* it is not a port number"):
        serve(port=70_000, database=database, api_key=KEY)


def test_two_processes_share_one_database(database: Path) -> None:
    with (
        start_sandbox(database) as one,
        start_sandbox(database) as two,
        ThreadPoolExecutor(2) as pool,
    ):
        barrier = Barrier(2)

        def both(method: str, path: str) -> list[httpx.Response]:
            def call(server: SandboxProcess) -> httpx.Response:
                barrier.wait(ANSWER_TIMEOUT_SECONDS)
                return server.request(method, path)

            return list(pool.map(call, (one, two)))

        first, second = both("GET", "/core/snapshots")
        assert first.json()["count"] == second.json()["count"] == 30
        assert first.json()["snapshots"] == second.json()["snapshots"]
        for snapshot_id in range(NEWEST, NEWEST - 10, -1):
            deleted = both("DELETE", f"/core/snapshots/{snapshot_id}")
            assert sorted(response.status_code for response in deleted) == [200, 409]
        rows = one.request("GET", "/core/snapshots").json()["snapshots"]
        assert len([row for row in rows if row["status"] != "DELETING"]) == 20


@pytest.mark.slow
def test_completed_writes_survive_a_killed_process(database: Path) -> None:
    completed: list[str] = []
    with start_sandbox(database) as server, ThreadPoolExecutor(4) as pool:
        enough = Event()

        def write(worker: int) -> None:
            for number in count():
                name = f"vm-{worker}-{number}"
                path = f"/core/snapshots/{NEWEST}/restore"
                try:
                    response = server.request("POST", path, {"new_vm_name": name})
                except httpx.TransportError:
                    return  # the server was killed
                assert response.status_code == 200
                completed.append(name)
                if len(completed) >= 40:
                    enough.set()

        writers = [pool.submit(write, worker) for worker in range(4)]
        try:
            assert enough.wait(ANSWER_TIMEOUT_SECONDS)
        finally:
            server.process.kill()  # the pool waits for the writers, which end now
        for writer in writers:
            writer.result(ANSWER_TIMEOUT_SECONDS)
    with start_sandbox(database) as server:
        vms = server.request("GET", "/core/virtual-machines").json()["instances"]
        assert set(completed) <= {vm["name"] for vm in vms}
    with closing(sqlite3.connect(database)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        vms_without_events = "SELECT count(*) FROM vms WHERE id NOT IN (SELECT subject FROM events)"
        assert connection.execute(vms_without_events).fetchone() == (0,)


def test_the_command_stores_the_credit_of_the_account(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "snapshot_mcp", "sandbox", "--port", "0", "--credit", "0"]
    env = os.environ | {"SNAPSHOT_MCP_DATA_DIR": str(tmp_path)}
    with start_process(command, stdout=subprocess.PIPE, env=env) as process:
        url = SandboxProcess(process, read_line(process.stdout)).url
        credit = httpx.get(f"{url}/billing/user-credit/credit", headers={"api_key": "sandbox"})
        assert credit.json()["data"] == {
            "credit": 0.0,
            "threshold": 0,
            "can_create_instance": False,
        }
