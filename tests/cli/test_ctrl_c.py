"""Ctrl-C at a terminal, before, while and after `snapshot-mcp call` asks its question."""

import json
import statistics
import sys
from collections.abc import Iterable
from pathlib import Path

import anyio
import pytest

from snapshot_mcp.cli import exit_codes
from snapshot_mcp.cli.terminal import Terminal
from snapshot_mcp.ledger.sqlite import open_sqlite_ledger
from snapshot_mcp.settings.environment import LEDGER_FILE
from tests.conftest import ManualClock
from tests.processes.conftest import Command
from tests.processes.helpers import environment
from tests.scale import scale

if sys.platform == "win32":
    pytest.skip("Windows has no pseudo-terminals like these", allow_module_level=True)

from tests.processes.pseudo_terminal import CTRL_C, PseudoTerminal, at_terminal

TERMINAL_MODULE = Terminal.__module__
PRESSES = scale(quick=5, deep=60, soak=300)
EARLIEST_SECONDS = -0.05
LATEST_SECONDS = 0.05
MEASURED_RUNS = scale(quick=1, deep=5)

NOTE = "embedded cloud"
QUESTION = "asks for your consent"
MESSAGES = {
    exit_codes.NOT_CONFIRMED: "Nothing was changed",
    exit_codes.INTERRUPTED: "Nothing was changed",
}

# Sends the signal of Ctrl-C at one exact moment: around the call that prints the question.
INTERRUPTING_ITSELF = """
import signal, sys
from snapshot_mcp.cli.main import main
from {module} import Terminal

answer, say = Terminal.answer, Terminal.say

async def interrupt_and_answer(terminal, context, params):
    if {moment!r} == "ahead":
        signal.raise_signal(signal.SIGINT)
    return await answer(terminal, context, params)

def say_and_interrupt(terminal, text):
    is_question = {question!r} in text
    if is_question and {moment!r} == "before":
        signal.raise_signal(signal.SIGINT)
    say(terminal, text)
    if is_question and {moment!r} == "after":
        signal.raise_signal(signal.SIGINT)

Terminal.answer, Terminal.say = interrupt_and_answer, say_and_interrupt
sys.exit(main(["call", *sys.argv[1:]]))
"""


@pytest.fixture
def snapshot(command: Command, tmp_path: Path) -> str:
    """The id of a snapshot that could be deleted."""
    listed = command("call", "list_snapshots", "state=ready", "--json", env=environment(tmp_path))
    return str(json.loads(listed.stdout)["snapshots"][0]["id"])


def assert_clean_end(terminal: PseudoTerminal) -> int:
    code = terminal.end()
    assert code in MESSAGES, terminal.shown
    assert MESSAGES[code] in terminal.shown
    assert "Traceback" not in terminal.shown
    assert "Warning" not in terminal.shown
    return code


def assert_kept(command: Command, folder: Path, snapshot: str) -> None:
    rows = anyio.run(open_sqlite_ledger(folder / LEDGER_FILE, ManualClock().now).rows)
    assert {row.event for row in rows} <= {"planned", "asked", "refused"}
    shown = command("call", "inspect_snapshot", f"snapshot_id={snapshot}", env=environment(folder))
    assert shown.returncode == 0, shown.stderr


def seconds_to_question(folder: Path, words: Iterable[str]) -> float:
    """Return the time from the first line of output to the question."""
    with at_terminal(folder, "call", *words) as terminal:
        started = terminal.read_until(NOTE)
        seconds = terminal.read_until(QUESTION) - started
        terminal.type(CTRL_C)
        assert assert_clean_end(terminal) == exit_codes.NOT_CONFIRMED
    return seconds


@pytest.mark.slow
@pytest.mark.timeout(scale(quick=300, deep=1_800, soak=7_200))
def test_ctrl_c_at_any_moment_around_the_question_deletes_nothing(
    command: Command, tmp_path: Path, snapshot: str
) -> None:
    words = ("delete_snapshot", f"snapshot_id={snapshot}")
    usual = statistics.median(seconds_to_question(tmp_path, words) for _ in range(MEASURED_RUNS))
    step = (LATEST_SECONDS - EARLIEST_SECONDS) / (PRESSES - 1)
    ends = dict.fromkeys(MESSAGES, 0)
    for press in range(PRESSES):
        with at_terminal(tmp_path, "call", *words) as terminal:
            terminal.read_until(NOTE)
            terminal.read_for(usual + EARLIEST_SECONDS + press * step)
            terminal.type(CTRL_C)
            ends[assert_clean_end(terminal)] += 1
    print("exit codes:", ends)  # noqa: T201 - shows how many presses came before and after the question
    assert_kept(command, tmp_path, snapshot)


# Cancels the call, and closes its connection at the same moment.
CLOSING_THE_CONNECTION = """
import signal, sys
from mcp import Client, MCPError
from snapshot_mcp.cli.main import main
import anyio

async def close(*_, **__):
    signal.raise_signal(signal.SIGINT)
    try:
        await anyio.sleep(60)
    except anyio.get_cancelled_exc_class():
        raise MCPError(code=-32000, message="Connection closed") from None

Client.list_tools = close
sys.exit(main(["call", *sys.argv[1:]]))
"""


@pytest.mark.slow
def test_ctrl_c_that_closes_the_connection_is_reported_as_an_interruption(
    command: Command, tmp_path: Path, snapshot: str
) -> None:
    words = ("delete_snapshot", f"snapshot_id={snapshot}")
    with at_terminal(
        tmp_path, *words, command=(sys.executable, "-c", CLOSING_THE_CONNECTION)
    ) as terminal:
        assert assert_clean_end(terminal) == exit_codes.INTERRUPTED
    assert_kept(command, tmp_path, snapshot)


@pytest.mark.parametrize(
    "moment",
    [
        pytest.param("ahead", marks=pytest.mark.slow),
        pytest.param("before", marks=pytest.mark.slow),
        "after",
    ],
)
def test_ctrl_c_next_to_printing_the_question_is_not_lost(
    command: Command, moment: str, tmp_path: Path, snapshot: str
) -> None:
    code = INTERRUPTING_ITSELF.format(module=TERMINAL_MODULE, question=QUESTION, moment=moment)
    words = ("delete_snapshot", f"snapshot_id={snapshot}")
    with at_terminal(tmp_path, *words, command=(sys.executable, "-c", code)) as terminal:
        assert_clean_end(terminal)
    assert_kept(command, tmp_path, snapshot)
