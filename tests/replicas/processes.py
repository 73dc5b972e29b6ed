"""Replicas of the server and their shared cloud, as processes."""

import subprocess
from collections.abc import Generator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO

import httpx

from tests.processes.helpers import KEY, MODULE, environment, free_port
from tests.waiting import ANSWER_TIMEOUT_SECONDS, START_TIMEOUT_SECONDS, terminate_process, until


class ServerProcess:
    """A process of the command on a port, which can be killed and started again."""

    def __init__(self, folder: Path, port: int, arguments: list[str], path: str) -> None:
        self.url = f"http://127.0.0.1:{port}"
        self._path = path
        self._command = [*MODULE, *arguments, "--port", str(port)]
        self._environment = environment(folder)
        self._log: IO[bytes] = (folder / f"log-{port}").open("ab")
        self.process: subprocess.Popen[bytes] | None = None

    def start(self, **settings: str) -> None:
        self._environment |= settings
        self.process = subprocess.Popen(
            self._command,
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=self._log,
            env=self._environment,
        )
        until(self._is_up, "a start", START_TIMEOUT_SECONDS)

    def _is_up(self) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, Path(self._log.name).read_text()
        try:
            return httpx.get(self.url + self._path, headers={"api_key": KEY}).is_success
        except httpx.TransportError:
            return False

    def kill(self) -> None:
        assert self.process is not None
        self.process.kill()
        self.process.wait(ANSWER_TIMEOUT_SECONDS)

    def end(self) -> None:
        with self._log:
            if self.process is not None:
                terminate_process(self.process)


def replica(folder: Path) -> ServerProcess:
    return ServerProcess(folder, free_port(), ["serve", "--transport", "http"], "/health")


@contextmanager
def cloud(folder: Path) -> Generator[ServerProcess]:
    """Run the embedded cloud in its own process."""
    folder.mkdir(parents=True)
    process = ServerProcess(folder, free_port(), ["sandbox"], "/v1/core/regions")
    try:
        process.start(SNAPSHOT_MCP_API_KEY=KEY)
        yield process
    finally:
        process.end()


@contextmanager
def replicas(folder: Path, number: int) -> Generator[list[ServerProcess]]:
    """Create replicas with separate data folders, not started yet."""
    folders = [folder / f"replica-{index}" for index in range(number)]
    for folder_of_replica in folders:
        folder_of_replica.mkdir(parents=True)
    processes = [replica(folder_of_replica) for folder_of_replica in folders]
    with ExitStack() as stack:
        for process in processes:
            stack.callback(process.end)
        yield processes
