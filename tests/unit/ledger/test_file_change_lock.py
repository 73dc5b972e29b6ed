"""The change lock of a data folder: one holder at a time, across processes."""

import subprocess
import sys
from pathlib import Path

import anyio
import pytest

from snapshot_mcp.core.errors import LedgerError
from snapshot_mcp.ledger.file_change_lock import FileChangeLock
from tests.waiting import ANSWER_TIMEOUT_SECONDS, read_line, start_process

HOLD = """
import sys, anyio
from pathlib import Path
from snapshot_mcp.ledger.file_change_lock import FileChangeLock

async def main():
    async with FileChangeLock(Path(sys.argv[1])).hold():
        print("held", flush=True)
        sys.stdin.readline()

anyio.run(main)
"""


async def is_free(file: Path, seconds: float = 0.1) -> bool:
    """Return whether the lock can be acquired in this time."""
    with anyio.move_on_after(seconds):
        async with FileChangeLock(file).hold():
            return True
    return False


async def test_changes_run_one_at_a_time(tmp_path: Path) -> None:
    running, most = 0, 0

    async def change(lock: FileChangeLock) -> None:
        nonlocal running, most
        async with lock.hold():
            running += 1
            most = max(most, running)
            await anyio.sleep(0.01)
            running -= 1

    with anyio.fail_after(ANSWER_TIMEOUT_SECONDS):
        async with anyio.create_task_group() as group:
            for _ in range(5):
                group.start_soon(change, FileChangeLock(tmp_path / "folder" / "lock.db"))
    assert (running, most) == (0, 1)


async def test_an_error_and_a_cancellation_release_the_lock(tmp_path: Path) -> None:
    file = tmp_path / "lock.db"
    with pytest.raises(ValueError, match="inside"):
        async with FileChangeLock(file).hold():
            raise ValueError("inside")
    with anyio.move_on_after(0.05):
        async with FileChangeLock(file).hold():
            await anyio.sleep_forever()
    assert await is_free(file, ANSWER_TIMEOUT_SECONDS)


async def test_another_process_holds_the_lock_until_it_ends(tmp_path: Path) -> None:
    file = tmp_path / "lock.db"
    command = [sys.executable, "-c", HOLD, str(file)]
    with start_process(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert read_line(process.stdout) == "held\n"
        assert not await is_free(file)
    assert await is_free(file, ANSWER_TIMEOUT_SECONDS)


async def test_a_file_that_cannot_be_used_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "lock.db").mkdir()
    with pytest.raises(LedgerError, match="lock on changes cannot be used"):
        async with FileChangeLock(tmp_path / "lock.db").hold():
            pass
