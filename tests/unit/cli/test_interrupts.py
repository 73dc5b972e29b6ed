"""Presses of Ctrl-C during a call."""

import signal

import anyio
import pytest

from snapshot_mcp.cli.interrupts import Interrupts


def press_ctrl_c() -> None:
    signal.raise_signal(signal.SIGINT)


def test_a_press_stays_pending_until_it_is_cleared() -> None:
    interrupts = Interrupts()
    with interrupts.recorded():
        assert not interrupts.pending
        press_ctrl_c()
        assert interrupts.pending
        interrupts.clear()
        assert not interrupts.pending
        press_ctrl_c()
        assert interrupts.pending


def test_a_second_pending_press_raises_immediately() -> None:
    interrupts = Interrupts()
    with interrupts.recorded():
        press_ctrl_c()
        with pytest.raises(KeyboardInterrupt):
            press_ctrl_c()


def test_the_previous_handler_is_restored() -> None:
    before = signal.getsignal(signal.SIGINT)
    with Interrupts().recorded():
        assert signal.getsignal(signal.SIGINT) != before
    assert signal.getsignal(signal.SIGINT) == before


async def test_a_pending_press_cancels_the_scope_even_if_it_came_before_the_wait() -> None:
    interrupts = Interrupts()
    with interrupts.recorded(), anyio.fail_after(10):
        press_ctrl_c()
        async with anyio.create_task_group() as group:
            group.start_soon(interrupts.cancel_when_pending, group.cancel_scope, lambda: False)
            await anyio.sleep_forever()
    assert group.cancel_scope.cancel_called


async def test_an_open_question_handles_its_presses_itself() -> None:
    interrupts, is_open = Interrupts(), True
    with interrupts.recorded(), anyio.fail_after(10):
        async with anyio.create_task_group() as group:
            group.start_soon(interrupts.cancel_when_pending, group.cancel_scope, lambda: is_open)
            press_ctrl_c()
            await anyio.sleep(0.2)
            assert not group.cancel_scope.cancel_called
            interrupts.clear()
            is_open = False
            await anyio.sleep(0.2)
            assert not group.cancel_scope.cancel_called
            group.cancel_scope.cancel()
