"""Unusual environments: no home folder, a deleted current folder, -OO, and container signals."""

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from snapshot_mcp.mcp_server.tools.toolsets import TOOLS as DECLARED_TOOLS
from tests.processes.helpers import (
    EMBEDDED_NOTE,
    MODULE,
    StdioServer,
    environment,
    run_command,
    stdio_server,
)
from tests.processes.test_closed_pipes import events
from tests.waiting import ANSWER_TIMEOUT_SECONDS, START_TIMEOUT_SECONDS, until

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs Linux"),
]

# The process that runs the tests may ignore signals, as under nohup, and its children inherit that.
_DEFAULT_SIGNALS = ("env", "--default-signal=HUP,INT,TERM")
_UNSHARE = ("unshare", "--user", "--map-root-user", "--fork", "--pid", "--mount-proc")
NAMESPACE = (*_DEFAULT_SIGNALS, *_UNSHARE)
STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


def can_run(command: Sequence[str]) -> bool:
    """Return whether this system allows such a namespace."""
    if shutil.which(command[0]) is None:
        return False
    completed = subprocess.run([*command, "true"], capture_output=True, check=False, timeout=60)
    return completed.returncode == 0


def child_of(process_id: int) -> int:
    """Return the id of the process that the first one in a namespace has outside of it."""
    file = Path(f"/proc/{process_id}/task/{process_id}/children")
    until(lambda: bool(file.read_text().split()), "the first process", START_TIMEOUT_SECONDS)
    return int(file.read_text().split()[0])


def handles(process_id: int, number: int) -> bool:
    """Return whether a process has a handler for a signal."""
    try:
        lines = Path(f"/proc/{process_id}/status").read_text().splitlines()
    except OSError:
        return False
    caught = next(line.split()[1] for line in lines if line.startswith("SigCgt"))
    return bool(int(caught, 16) & (1 << (number - 1)))


@contextmanager
def first_process(folder: Path) -> Generator[StdioServer]:
    """Start a server as the first process of a container."""
    if not can_run(NAMESPACE):
        pytest.skip("this system has no process namespaces for its users")
    with stdio_server(folder, command=[*NAMESPACE, *MODULE]) as server:
        try:
            yield server
        finally:
            if server.process.poll() is None:
                os.kill(child_of(server.process.pid), signal.SIGKILL)


@pytest.mark.parametrize("number", STOP_SIGNALS)
@pytest.mark.parametrize("moment", ["first handler", "imports", "serving"])
def test_a_signal_ends_the_first_process_of_a_container(
    tmp_path: Path, number: signal.Signals, moment: str
) -> None:
    with first_process(tmp_path) as server:
        process_id = child_of(server.process.pid)
        # SIGHUP gets its handler last, and Python itself handles SIGINT.
        until(lambda: handles(process_id, signal.SIGHUP), "the handler", START_TIMEOUT_SECONDS)
        if moment == "imports":
            until(lambda: bool(server.stderr), "the note", START_TIMEOUT_SECONDS)
        if moment == "serving":
            server.initialize()
        os.kill(process_id, number)
        assert server.process.wait(ANSWER_TIMEOUT_SECONDS) == 128 + number
        assert server.stderr.replace(EMBEDDED_NOTE + "\n", "") == ""


def start_creation(server: StdioServer, folder: Path) -> int:
    """Call a tool that waits for a snapshot; return the id of the call after the write was sent."""
    server.initialize()
    create = {"vm_id": 793701, "name": "cut-off", "allow_interruption": True}
    call = server.start_call("create_snapshot", **create, wait_seconds=60)
    until(lambda: "done" in events(folder / "ledger.db"), "the write")
    return call


@pytest.mark.parametrize("number", STOP_SIGNALS)
def test_a_signal_during_a_change_in_a_container_leaves_it_recorded(
    tmp_path: Path, number: signal.Signals
) -> None:
    with first_process(tmp_path) as server:
        start_creation(server, tmp_path)
        os.kill(child_of(server.process.pid), number)
        assert server.process.wait(ANSWER_TIMEOUT_SECONDS) == 128 + number
        assert "Traceback" not in server.stderr
    assert events(tmp_path / "ledger.db") == ["sent", "done"]


@pytest.mark.parametrize("number", STOP_SIGNALS)
def test_a_signal_during_the_imports_ends_an_ordinary_process(
    tmp_path: Path, number: signal.Signals
) -> None:
    with stdio_server(tmp_path) as server:
        process_id = server.process.pid
        # Python handles SIGINT until this server restores its default action.
        for expected in (True, False):
            until(
                lambda expected=expected: handles(process_id, signal.SIGINT) is expected,
                "the default action",
                START_TIMEOUT_SECONDS,
            )
        os.kill(process_id, number)
        assert server.process.wait(ANSWER_TIMEOUT_SECONDS) == -number
        assert server.stderr == ""


@pytest.mark.parametrize("number", STOP_SIGNALS)
def test_a_call_is_answered_before_a_signal_ends_the_server(
    tmp_path: Path, number: signal.Signals
) -> None:
    with stdio_server(tmp_path) as server:
        call = start_creation(server, tmp_path)
        server.process.send_signal(number)
        assert server.process.wait(ANSWER_TIMEOUT_SECONDS) == -number
        assert server.wait_for_response(call)["id"] == call
        assert "Traceback" not in server.stderr


def test_a_server_that_ignores_hangups_survives_them(tmp_path: Path) -> None:
    with stdio_server(tmp_path, command=["nohup", *MODULE]) as server:
        server.initialize()
        server.process.send_signal(signal.SIGHUP)
        assert server.list_tools()
        assert server.close_stdin() == 0


@pytest.mark.parametrize("option", ["-O", "-OO"])
def test_descriptions_are_the_same_in_optimized_python(tmp_path: Path, option: str) -> None:
    command = [sys.executable, option, "-m", "snapshot_mcp"]
    with stdio_server(tmp_path, command=command) as server:
        server.initialize()
        listed = server.wait_for_response(server.send_request("tools/list"))["result"]["tools"]
    shown = {tool["name"]: (tool["description"], tool["inputSchema"]) for tool in listed}
    declared = {
        tool.name: (tool.definition.description, tool.definition.input_schema)
        for tool in DECLARED_TOOLS
    }
    assert json.loads(json.dumps(declared)) == json.loads(json.dumps(shown))


HOMELESS = ("unshare", "--user", "--map-user=12345", "env", "-u", "HOME", "-u", "XDG_DATA_HOME")


@pytest.mark.parametrize(
    "words",
    [
        "doctor",
        "ledger",
        "ledger verify",
        "sandbox --port 0",
        "call list_snapshots",
        "install claude-code --dry-run",
    ],
)
def test_a_user_without_a_home_folder_gets_one_sentence(words: str, tmp_path: Path) -> None:
    if not can_run(HOMELESS):
        pytest.skip("this system has no user namespaces")
    completed = subprocess.run(
        [*HOMELESS, *MODULE, *words.split()],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        encoding="utf-8",
        env={name: value for name, value in environment("").items() if "DATA_DIR" not in name},
        cwd=tmp_path,
        timeout=START_TIMEOUT_SECONDS,
        check=False,
    )
    assert completed.returncode in {1, 2}
    assert "home folder" in completed.stdout + completed.stderr
    assert "Traceback" not in completed.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("words", ["doctor", "call list_snapshots", "ledger", "--version"])
@pytest.mark.parametrize(
    "variables",
    [
        {"LANG": "C", "LC_ALL": "C", "PYTHONIOENCODING": "ascii", "TERM": ""},
        {"TERM": "", "PATH": ""},
        {"PYTHONUNBUFFERED": "1", "PYTHONUTF8": "0", "TERM": "dumb"},
    ],
    ids=["ascii", "no PATH", "unbuffered"],
)
def test_commands_work_in_a_poor_environment(
    words: str, variables: dict[str, str], tmp_path: Path
) -> None:
    completed = run_command(*words.split(), env=environment(tmp_path, **variables))
    assert completed.returncode == 0, completed.stderr
    assert "Traceback" not in completed.stderr


def test_a_deleted_current_folder_is_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    env = environment(tmp_path)
    installed = run_command("install", "claude-code", "--project", "--dry-run", env=env)
    assert (installed.returncode, installed.stdout) == (2, "")
    assert "current folder" in installed.stderr
    assert run_command("doctor", env=env).returncode == 0
    with stdio_server(tmp_path) as server:
        server.initialize()
        assert server.call_tool("list_snapshots")["total"] > 0


def test_a_file_system_that_is_full_or_read_only_is_reported(tmp_path: Path) -> None:
    mounting = ("unshare", "--user", "--map-root-user", "--mount")
    if not can_run(mounting):
        pytest.skip("this system has no mount namespaces for its users")
    full, fixed = tmp_path / "full", tmp_path / "fixed"
    full.mkdir()
    fixed.mkdir()
    words = ["call", "create_snapshot", "vm_id=793701", "name=x", "allow_interruption=true"]
    script = f"""
    mount -t tmpfs -o size=64k none {full}; head -c 64k /dev/zero > {full}/file
    mount -t tmpfs -o ro none {fixed}
    for folder in {full} {fixed}/data; do
      SNAPSHOT_MCP_DATA_DIR=$folder "$@"; echo "code $?"
    done
    """
    completed = subprocess.run(
        [*mounting, "sh", "-c", script, "sh", *MODULE, *words],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        encoding="utf-8",
        env=environment(tmp_path),
        timeout=2 * START_TIMEOUT_SECONDS,
        check=False,
    )
    assert completed.stdout.splitlines() == ["code 1", "code 2"], completed
    assert "Nothing was changed." in completed.stderr
    assert "SNAPSHOT_MCP_DATA_DIR" in completed.stderr
    assert "Traceback" not in completed.stderr
