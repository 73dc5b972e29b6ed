"""The embedded cloud on a real port, in processes of its own."""

import re
import signal
import socket
import sqlite3
import subprocess
import sys
from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from threading import Barrier, Event

import httpx
import pytest

from snapshot_mcp.core.errors import ConfigurationError
from snapshot_mcp.sandbox.serve import serve
from tests.sandbox.conftest import KEY, NEWEST, NOTEBOOK
from tests.waiting import ANSWER_TIMEOUT_SECONDS, read_line, start_process, until

pytestmark = pytest.mark.usefixtures("measured")
CODE = """
import sys
from pathlib import Path
from snapshot_mcp.sandbox.serve import serve
serve(port=0, database=Path(sys.argv[1]), api_key=sys.argv[2])
"""


@dataclass
class SandboxProcess:
    process: subprocess.Popen[str]
    first_line: str

    @property
    def url(self) -> str:
        found = re.search(r"http://127\.0\.0\.1:\d+/v1", self.first_line)
        assert found, self.first_line
        return found.group()

    def request(self, method: str, path: str, body: object = None) -> httpx.Response:
        address = self.url + path
        return httpx.request(
            method, address, json=body, headers={"api_key": KEY}, timeout=ANSWER_TIMEOUT_SECONDS
        )

    def interrupt(self) -> int:
        if sys.platform == "win32":
            self.process.terminate()
        else:
            self.process.send_signal(signal.SIGINT)
        return self.process.wait(ANSWER_TIMEOUT_SECONDS)


@contextmanager
def sandbox_process(database: Path) -> Generator[SandboxProcess]:
    command = [sys.executable, "-c", CODE, str(database), KEY]
    with start_process(command, stdout=subprocess.PIPE) as process:
        yield SandboxProcess(process, read_line(process.stdout))


@pytest.fixture
def database(tmp_path: Path) -> Path:
    return tmp_path / "data" / "cloud.db"


def test_a_server_says_address_and_key_and_answers_from_then_on(database: Path) -> None:
    with sandbox_process(database) as server:
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


def test_a_reply_does_not_wait_for_acknowledgements(database: Path) -> None:
    with sandbox_process(database) as server, httpx.Client(headers={"api_key": KEY}) as client:

        def is_quick() -> bool:
            return client.get(server.url + "/core/regions").elapsed.total_seconds() < 0.03

        # Where it waits, none comes before 40 ms; on a busy machine some come as late by chance.
        until(is_quick, "a quick reply")


def test_a_port_in_use_is_named_in_a_sentence(database: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ConfigurationError, match=rf"Port {port} .* cannot be used"):
            serve(port=port, database=database, api_key=KEY)
    assert not database.exists()


def test_a_number_that_is_not_a_port_is_rejected_in_a_sentence(database: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"Port 70000 .* it is not a port number"):
        serve(port=70_000, database=database, api_key=KEY)


def test_two_processes_share_one_file(database: Path) -> None:
    with (
        sandbox_process(database) as one,
        sandbox_process(database) as two,
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
            assert sorted(it.status_code for it in deleted) == [200, 404]
        assert one.request("GET", "/core/snapshots").json()["count"] == 20


def test_what_was_answered_is_kept_when_the_process_is_killed(database: Path) -> None:
    answered: list[str] = []
    with sandbox_process(database) as server, ThreadPoolExecutor(4) as pool:
        enough = Event()

        def write(worker: int) -> None:
            for number in count():
                name = f"vm-{worker}-{number}"
                path = f"/core/snapshots/{NEWEST}/restore"
                try:
                    reply = server.request("POST", path, {"new_vm_name": name})
                except httpx.TransportError:
                    return  # the server is dead, as it should be
                assert reply.status_code == 200
                answered.append(name)
                if len(answered) >= 40:
                    enough.set()

        writers = [pool.submit(write, worker) for worker in range(4)]
        try:
            assert enough.wait(ANSWER_TIMEOUT_SECONDS)
        finally:
            server.process.kill()  # the writers, for which the pool waits, go on until then
        for writer in writers:
            writer.result(ANSWER_TIMEOUT_SECONDS)
    with sandbox_process(database) as server:
        vms = server.request("GET", "/core/virtual-machines").json()["instances"]
        assert set(answered) <= {vm["name"] for vm in vms}
    with closing(sqlite3.connect(database)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        halves = "SELECT count(*) FROM vms WHERE id NOT IN (SELECT subject FROM events)"
        assert connection.execute(halves).fetchone() == (0,)
