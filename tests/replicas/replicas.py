"""Two replicas of the server, as processes, and the cloud that they share."""

import subprocess
from collections.abc import Generator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO

import httpx

from tests.processes.helpers import KEY, MODULE, environment, free_port
from tests.waiting import ANSWER_TIMEOUT_SECONDS, START_TIMEOUT_SECONDS, terminate_process, until


class Process:
    """One process of the command, on a port; it can be killed and started again."""

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


def replica(folder: Path) -> Process:
    return Process(folder, free_port(), ["serve", "--transport", "http"], "/health")


@contextmanager
def cloud(folder: Path) -> Generator[Process]:
    """The embedded cloud, served alone."""
    folder.mkdir(parents=True)
    process = Process(folder, free_port(), ["sandbox"], "/v1/core/regions")
    try:
        process.start(SNAPSHOT_MCP_API_KEY=KEY)
        yield process
    finally:
        process.end()


@contextmanager
def replicas(folder: Path, number: int) -> Generator[list[Process]]:
    """Replicas that are not started yet, on folders of their own."""
    folders = [folder / f"replica-{place}" for place in range(number)]
    for it in folders:
        it.mkdir(parents=True)
    all_of_them = [replica(it) for it in folders]
    with ExitStack() as stack:
        for it in all_of_them:
            stack.callback(it.end)
        yield all_of_them
