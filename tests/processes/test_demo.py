"""`snapshot-mcp demo`: its output and its exit code."""

import re
from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

import anyio
import pytest
from mcp import Client

from snapshot_mcp.cli import demo, exit_codes
from snapshot_mcp.cli.main import main as cli
from snapshot_mcp.mcp_server.app import create_server
from snapshot_mcp.settings.environment import Settings
from tests.conftest import World
from tests.processes.helpers import environment, run_command

pytestmark = pytest.mark.usefixtures("measured")
TIMEOUT_SECONDS = 150


def connector(settings: Settings) -> Callable[[], AbstractAsyncContextManager[Client]]:
    @asynccontextmanager
    async def connect() -> AsyncGenerator[Client]:
        async with Client(create_server(settings)) as client:
            yield client

    return connect


@pytest.mark.slow
def test_the_demo_succeeds_and_prints_the_restored_vm(tmp_path: Path) -> None:
    untouched = tmp_path / "untouched"
    ended = run_command("demo", env=environment(untouched, NO_COLOR="1"), within=TIMEOUT_SECONDS)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    shown = ended.stdout
    assert "restored" in shown
    assert "training-box-copy" in shown
    assert "ACTIVE" in shown
    assert "plan_token is missing" in shown
    assert "already used" in shown
    assert "deleted with consent" in shown
    assert "failed:" not in shown
    assert "Traceback" not in ended.stderr
    assert not untouched.exists()


def test_the_demo_succeeds_in_this_process(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], world: World
) -> None:
    monkeypatch.setattr("snapshot_mcp.cli.demo._connect", world.client)
    assert cli(["demo"]) == exit_codes.OK
    shown = capsys.readouterr().out
    assert "training-box-copy" in shown
    assert "plan_token is missing" in shown
    assert "already used" in shown
    assert "failed:" not in shown


def test_the_retention_demo_succeeds(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setattr("snapshot_mcp.cli.demo._connect", connector(Settings(data_dir=tmp_path)))
    assert cli(["demo", "--retention"]) == exit_codes.OK
    shown = capsys.readouterr().out
    assert "no rule keeps them" in shown
    assert "confirm does not match the confirmation words" in shown
    assert re.search(r"applied: [1-9]\d* deleted", shown)
    assert "already used" in shown
    assert "failed:" not in shown


def test_an_unexpected_result_fails_the_demo_with_a_message(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    settings = Settings(data_dir=tmp_path, read_only=True)
    monkeypatch.setattr("snapshot_mcp.cli.demo._connect", connector(settings))
    assert demo.run_demo() is False
    assert "The demo failed: create_snapshot was refused" in capsys.readouterr().out
    assert cli(["demo"]) == exit_codes.FAILED == 1


def test_a_demo_that_takes_too_long_fails_with_a_message(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    @asynccontextmanager
    async def connect() -> AsyncGenerator[Client]:
        await anyio.sleep_forever()
        yield Client("http://127.0.0.1:1/never")

    monkeypatch.setattr("snapshot_mcp.cli.demo._connect", connect)
    monkeypatch.setattr("snapshot_mcp.cli.demo._DEMO_TIMEOUT_SECONDS", 0.05)
    assert demo.run_demo() is False
    assert "it took more than 0.05 s" in capsys.readouterr().out
