"""Closed standard streams and closed pipes of real processes: no traceback, and an exit code."""

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import anyio
import pytest

from snapshot_mcp.cli import exit_codes
from snapshot_mcp.core.clock import utc_now
from snapshot_mcp.ledger.sqlite import open_sqlite_ledger
from snapshot_mcp.settings.environment import LEDGER_FILE
from tests.processes.helpers import MODULE, environment, run_command
from tests.waiting import ANSWER_TIMEOUT_SECONDS, START_TIMEOUT_SECONDS, read_line, until

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform == "win32", reason="the shell is that of POSIX"),
]

INITIALIZE = {
    "protocolVersion": "2025-11-25",
    "capabilities": {},
    "clientInfo": {"name": "t", "version": "1"},
}


def message(request_id: int, method: str, **params: object) -> bytes:
    content = {"jsonrpc": "2.0", "id": request_id, "method": method, "params": params}
    return json.dumps(content).encode() + b"\n"


def call(request_id: int, tool: str, **arguments: object) -> bytes:
    return message(request_id, "tools/call", name=tool, arguments=arguments)


def run_with_closed(
    descriptors: str, words: Sequence[str], folder: Path
) -> subprocess.CompletedProcess[bytes]:
    """Run a command with some of its standard descriptors closed from the start."""
    redirections = " ".join(f"{number}{'<' if number == '0' else '>'}&-" for number in descriptors)
    return subprocess.run(
        ["/bin/sh", "-c", f'exec "$@" {redirections}', "sh", *MODULE, *words],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        env=environment(folder),
        timeout=START_TIMEOUT_SECONDS,
        check=False,
    )


def run_before_reader_ends(words: Sequence[str], folder: Path) -> tuple[int, bytes]:
    """Run a command whose output nothing reads, and return its exit code and its diagnostics."""
    reader, writer = os.pipe()
    os.close(reader)
    try:
        completed = subprocess.run(
            [*MODULE, *words],
            stdin=subprocess.DEVNULL,
            stdout=writer,
            stderr=subprocess.PIPE,
            env=environment(folder),
            timeout=START_TIMEOUT_SECONDS,
            check=False,
        )
    finally:
        os.close(writer)
    return completed.returncode, completed.stderr


@pytest.mark.parametrize(
    "words",
    ["ledger --limit 0", "doctor", "completion bash", "--help", "call list_snapshots", "demo"],
)
def test_a_closed_pipe_ends_a_command_silently(words: str, tmp_path: Path) -> None:
    environment_of_ledger = environment(tmp_path)
    create = ("create_snapshot", "vm_id=793701", "name=one", "allow_interruption=true")
    assert run_command("call", *create, env=environment_of_ledger).returncode == 0
    code, diagnostics = run_before_reader_ends(words.split(), tmp_path)
    assert code == exit_codes.CLOSED_PIPE
    lines = [line for line in diagnostics.splitlines() if b"embedded cloud" not in line]
    assert lines == []


@pytest.mark.parametrize("descriptors", ["0", "1", "2", "01", "012"])
@pytest.mark.parametrize("words", ["", "doctor", "ledger", "call list_snapshots", "--help"])
def test_closed_streams_give_no_traceback(descriptors: str, words: str, tmp_path: Path) -> None:
    completed = run_with_closed(descriptors, words.split(), tmp_path)
    assert b"Traceback" not in completed.stderr
    is_server_without_client = not words and descriptors != "2"
    assert completed.returncode == (exit_codes.FAILED if is_server_without_client else 0)
    if is_server_without_client and "2" not in descriptors:
        assert b"needs both" in completed.stderr
    for file in tmp_path.iterdir():
        assert b"embedded cloud" not in file.read_bytes()


def test_piped_requests_are_answered_before_the_end(tmp_path: Path) -> None:
    create = {"vm_id": 793701, "name": "piped", "allow_interruption": True, "wait_seconds": 30}
    requests = [
        message(1, "initialize", **INITIALIZE),
        message(2, "tools/list"),
        call(3, "list_snapshots", limit=1),
        call(4, "create_snapshot", **create),
    ]
    completed = subprocess.run(
        MODULE,
        input=b"\xef\xbb\xbf" + b"".join(requests),
        capture_output=True,
        env=environment(tmp_path),
        timeout=START_TIMEOUT_SECONDS,
        check=False,
    )
    answers = [json.loads(line) for line in completed.stdout.splitlines()]
    assert {answer["id"] for answer in answers} == {1, 2, 3, 4}
    assert all("result" in answer for answer in answers)
    created = next(answer for answer in answers if answer["id"] == 4)["result"]
    assert created["structuredContent"]["outcome"] == "created"
    assert completed.returncode == 0
    assert len(completed.stderr.splitlines()) == 1


@pytest.mark.parametrize("closes_stdin", [False, True])
def test_a_client_that_disconnects_during_a_change_leaves_no_traceback(
    tmp_path: Path, *, closes_stdin: bool
) -> None:
    create = {"vm_id": 793701, "name": "cut-off", "allow_interruption": True, "wait_seconds": 60}
    with (
        (tmp_path / "errors").open("wb") as errors,
        subprocess.Popen(
            MODULE,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            env=environment(tmp_path / "data"),
        ) as process,
    ):
        try:
            assert process.stdin
            assert process.stdout
            process.stdin.write(message(1, "initialize", **INITIALIZE))
            process.stdin.write(call(2, "create_snapshot", **create))
            process.stdin.flush()
            assert b"serverInfo" in read_line(process.stdout)
            ledger = tmp_path / "data" / LEDGER_FILE
            until(lambda: "done" in events(ledger), "the write")
            process.stdout.close()
            if closes_stdin:
                process.stdin.close()
            else:
                process.stdin.write(message(3, "tools/list"))
                process.stdin.flush()
            code = process.wait(ANSWER_TIMEOUT_SECONDS)
        finally:
            process.kill()
    assert code == (exit_codes.OK if closes_stdin else exit_codes.CLOSED_PIPE)
    assert events(ledger) == ["sent", "done"]
    (note,) = (tmp_path / "errors").read_text().splitlines()
    assert "embedded cloud" in note


def events(ledger: Path) -> list[str]:
    """Return the events of the rows in a ledger; none if it does not exist yet."""
    if not ledger.exists():
        return []
    return [row.event for row in anyio.run(open_sqlite_ledger(ledger, utc_now).rows)]
