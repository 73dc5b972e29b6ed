"""Signals at the start, before any part of a command handles them."""

import os
import signal
import sys
from collections.abc import Callable, Generator

import pytest

from snapshot_mcp import __main__
from snapshot_mcp.cli import signals

if sys.platform == "win32":
    pytest.skip("Windows ends a process without a signal", allow_module_level=True)

HANDLED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@pytest.fixture(autouse=True)
def default_handlers() -> Generator[None]:
    """Begin with the handlers of a new process."""
    previous = {number: signal.getsignal(number) for number in HANDLED}
    for number in HANDLED:
        signal.signal(number, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    for number, handler in previous.items():
        signal.signal(number, handler)


@pytest.fixture
def exits(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    codes: list[int] = []
    monkeypatch.setattr(os, "_exit", codes.append)
    return codes


def as_first_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "getpid", lambda: 1)


def test_signals_have_their_default_action_at_the_start() -> None:
    signals.end_on_signals()
    assert [signal.getsignal(number) for number in HANDLED] == [signal.SIG_DFL] * 3


def test_the_first_process_of_a_container_ends_by_itself(
    monkeypatch: pytest.MonkeyPatch, exits: list[int]
) -> None:
    as_first_process(monkeypatch)
    signals.end_on_signals()
    for number in HANDLED:
        signal.raise_signal(number)
    assert exits == [130, 143, 129]


@pytest.mark.parametrize("process_id", [1, 500])
def test_signals_that_the_parent_ignores_stay_ignored(
    process_id: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "getpid", lambda: process_id)
    for number in HANDLED:
        signal.signal(number, signal.SIG_IGN)
    signals.end_on_signals()
    signals.raise_on_ctrl_c()
    assert [signal.getsignal(number) for number in HANDLED] == [signal.SIG_IGN] * 3


def test_a_command_can_be_interrupted_after_the_start() -> None:
    signals.end_on_signals()
    signals.raise_on_ctrl_c()
    with pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGINT)


def test_the_signals_are_handled_before_the_command_is_imported(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    order: list[str] = []

    def record(name: str) -> Callable[[], int]:
        return lambda: order.append(name) or 0

    monkeypatch.setattr(__main__, "end_on_signals", record("signals"))
    monkeypatch.setattr("snapshot_mcp.cli.main.main", record("command"))
    assert __main__.run() == 0
    assert order == ["signals", "command"]
    assert os.getpid() != 1
