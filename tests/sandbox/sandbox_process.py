"""The embedded cloud in a process of its own."""

import re
import signal
import subprocess
import sys
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

from tests.sandbox.conftest import KEY
from tests.waiting import ANSWER_TIMEOUT_SECONDS, read_line, start_process

CODE = """
import sys
from pathlib import Path
from snapshot_mcp.sandbox.serve import serve
serve(port=0, database=Path(sys.argv[1]), api_key=sys.argv[2])
"""


@dataclass
class SandboxProcess:
    """A running process that serves the embedded cloud."""

    process: subprocess.Popen[str]
    first_line: str

    @property
    def url(self) -> str:
        match = re.search(r"http://127\.0\.0\.1:\d+/v1", self.first_line)
        assert match, self.first_line
        return match.group()

    def request(self, method: str, path: str, body: object = None) -> httpx.Response:
        address = self.url + path
        return httpx.request(
            method, address, json=body, headers={"api_key": KEY}, timeout=ANSWER_TIMEOUT_SECONDS
        )

    def interrupt(self) -> int:
        """End the process as Ctrl-C does, and return its exit code."""
        if sys.platform == "win32":
            self.process.terminate()
        else:
            self.process.send_signal(signal.SIGINT)
        return self.process.wait(ANSWER_TIMEOUT_SECONDS)


@contextmanager
def start_sandbox(database: Path, key: str = KEY) -> Generator[SandboxProcess]:
    """Start a process that serves the embedded cloud, and kill it at the end."""
    command = [sys.executable, "-c", CODE, str(database), key]
    with start_process(command, stdout=subprocess.PIPE) as process:
        yield SandboxProcess(process, read_line(process.stdout))
