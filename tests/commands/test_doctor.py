"""`snapshot-mcp doctor`: what is found, in each state that a machine and a cloud can be in."""

import json
import sqlite3
import sys
from collections.abc import Generator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from subprocess import CompletedProcess

import httpx
import pytest
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from snapshot_mcp.cli.doctor.cloud_checks import told as told_of_cloud
from snapshot_mcp.cloud.connection import Connection
from snapshot_mcp.cloud.diagnostics import ClockSkewTransport, probe
from snapshot_mcp.core.clock import SYSTEM_CLOCK, utc_now
from snapshot_mcp.sandbox.app import create_app
from snapshot_mcp.settings.environment import LEDGER_FILE
from tests.processes.conftest import Command
from tests.processes.helpers import (
    HTML_RESPONSE,
    KEY,
    Upstream,
    commit_arguments,
    environment,
    ready_server,
    run_command,
)
from tests.processes.helpers import list_ready_snapshots as ready


@pytest.fixture
def cloud(tmp_path: Path) -> Generator[Upstream]:
    with Upstream(tmp_path / "cloud.db").serve() as upstream:
        yield upstream


def found(ended: CompletedProcess[str]) -> dict[str, list[tuple[str, str]]]:
    """State and text of every finding, by its name."""
    told: dict[str, list[tuple[str, str]]] = {}
    for it in json.loads(ended.stdout)["findings"]:
        told.setdefault(it["name"], []).append((it["state"], it["text"]))
    return told


def examine(command: Command, env: dict[str, str], code: int) -> dict[str, list[tuple[str, str]]]:
    ended = command("doctor", "--json", env=env)
    assert (ended.returncode, ended.stderr) == (code, "")
    assert KEY not in ended.stdout
    assert json.loads(ended.stdout)["ok"] is (code == 0)
    return found(ended)


def test_a_fresh_machine_is_well_and_nothing_is_made(command: Command, tmp_path: Path) -> None:
    ended = command("doctor", env=environment(tmp_path / "data"))
    assert ended.returncode == 0
    lines = ended.stdout.splitlines()
    assert [line[:4].strip() for line in lines] == ["ok"] * (len(lines) - 1) + ["note"]
    assert "SNAPSHOT_MCP_TIMEOUT: 10, by default" in ended.stdout
    assert "made at the first use" in ended.stdout
    assert list(tmp_path.iterdir()) == []


def test_a_process_tells_the_same(tmp_path: Path) -> None:
    ended = run_command("doctor", env=environment(tmp_path))
    assert (ended.returncode, ended.stderr) == (0, "")


def test_settings_are_told_with_their_origin_and_the_key_is_not(
    command: Command, cloud: Upstream, tmp_path: Path
) -> None:
    env = environment(tmp_path / "data", HYPERSTACK_API_KEY=KEY, SNAPSHOT_MCP_API_URL=cloud.url)
    told = examine(command, env, 0)
    texts = [text for _, text in told["setting"]]
    assert "SNAPSHOT_MCP_API_KEY: set (not shown), from HYPERSTACK_API_KEY" in texts
    assert f'SNAPSHOT_MCP_API_URL: "{cloud.url}", from SNAPSHOT_MCP_API_URL' in texts


def test_a_cloud_that_answers_is_told_with_what_the_key_reads(
    command: Command, cloud: Upstream, tmp_path: Path
) -> None:
    told = examine(command, environment(tmp_path / "data", **cloud.settings), 0)
    ((state, text),) = told["cloud"]
    assert state == "ok"
    assert text.startswith("reached in ")
    assert told["clock"] == [("ok", "agrees with the cloud's")]
    assert [text for _, text in told["key"]][:4] == [
        "accepted",
        "reads snapshots",
        "reads VMs",
        "reads prices",
    ]
    assert told["key"][4][0] == "note"
    assert cloud.writes == []


def test_a_key_that_is_not_accepted_is_told(
    command: Command, cloud: Upstream, tmp_path: Path
) -> None:
    env = environment(tmp_path / "data", **(cloud.settings | {"SNAPSHOT_MCP_API_KEY": "another"}))
    told = examine(command, env, 1)
    assert told["cloud"][0][0] == "ok"
    ((state, text),) = told["key"]
    assert state == "bad"
    assert "does not accept" in text


class Strange:
    """Answers some paths in place of the cloud."""

    def __init__(self, folder: Path, answers: dict[str, ASGIApp]) -> None:
        self._cloud = create_app(database=folder / "cloud.db", api_key=KEY, now=utc_now)
        self._answers = answers

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._answers.get(scope["path"], self._cloud)(scope, receive, send)


def refusing(status: int) -> JSONResponse:
    return JSONResponse({"status": False, "message": KEY}, status)


def test_a_key_that_may_not_read_is_told_and_so_is_one_that_reads_less(
    command: Command, cloud: Upstream, tmp_path: Path
) -> None:
    env = environment(tmp_path / "data", **cloud.settings)
    cloud.replacement = Strange(tmp_path, {"/v1/core/snapshots": refusing(403)})
    assert examine(command, env, 1)["key"] == [("bad", "accepted, but it may not read snapshots")]
    cloud.replacement = Strange(tmp_path, {"/v1/core/virtual-machines": refusing(403)})
    state, text = examine(command, env, 0)["key"][2]
    assert state == "note"
    assert text.startswith("does not read VMs: The API key may not do this")


@pytest.mark.parametrize("answer", [HTML_RESPONSE, refusing(500), JSONResponse([])])
def test_what_is_not_the_cloud_is_told(
    command: Command,
    cloud: Upstream,
    answer: ASGIApp,
    tmp_path: Path,
) -> None:
    cloud.replacement = answer
    told = examine(command, environment(tmp_path / "data", **cloud.settings), 1)
    assert told["cloud"][0][0] == "bad"
    assert "key" not in told


def test_a_cloud_that_is_not_there_is_told(command: Command, tmp_path: Path) -> None:
    nowhere = Upstream(tmp_path / "cloud.db").settings
    told = examine(command, environment(tmp_path / "data", **nowhere), 1)
    assert told["cloud"][0][0] == "bad"
    assert "no connection" in told["cloud"][0][1]
    assert "clock" not in told


def test_proxy_settings_that_cannot_be_used_are_told(command: Command, tmp_path: Path) -> None:
    env = environment(tmp_path, SNAPSHOT_MCP_API_KEY=KEY, ALL_PROXY="nonsense://127.0.0.1")
    ((state, text),) = examine(command, env, 1)["cloud"]
    assert state == "bad"
    assert "proxy" in text


@pytest.mark.parametrize(
    ("ahead", "told"),
    [
        ("300", ["this machine is 300 s behind the cloud: ages are told wrongly"]),
        ("-300", ["this machine is 300 s ahead of the cloud: ages are told wrongly"]),
        ("0", ["agrees with the cloud's"]),
        ("none", []),
        ("nonsense", []),
    ],
)
async def test_a_clock_that_is_wrong_is_told(ahead: str, told: list[str]) -> None:
    now = datetime(2026, 11, 20, 12, tzinfo=UTC)
    dates = {"none": {}, "nonsense": {"date": "yesterday"}}
    moment = now + timedelta(seconds=int(ahead)) if ahead not in dates else now
    headers = dates.get(ahead, {"date": format_datetime(moment, usegmt=True)})
    app = JSONResponse({"status": True, "snapshots": [], "count": 0}, headers=headers)
    clock = SYSTEM_CLOCK._replace(now=lambda: now)
    compared = ClockSkewTransport(httpx.ASGITransport(app), clock)
    async with Connection(compared, "http://cloud.test/v1", KEY, 5) as connection:
        findings = told_of_cloud(await probe(connection, clock, timeout_seconds=5), compared.skew)
    assert [it.text for it in findings if it.name == "clock"] == told


def test_what_the_cloud_says_that_the_key_may_do_is_told(
    command: Command, cloud: Upstream, tmp_path: Path
) -> None:
    entries = [
        {"id": 1, "resource": "snapshot", "permission": "create\x1b[1m"},
        {"id": 2, "resource": "billing", "permission": "read"},
        {"resource": 5},
        "nonsense",
    ]
    body = {"status": True, "permissions": entries}
    path = "/v1/auth/users/me/permissions"
    env = environment(tmp_path / "data", **cloud.settings)
    cloud.replacement = Strange(tmp_path, {path: JSONResponse(body)})
    assert examine(command, env, 0)["key"][-1] == (
        "ok",
        "may, as the cloud says: snapshot:create[1m",
    )
    many = [{"resource": "vm", "permission": str(n)} for n in range(20)]
    cloud.replacement = Strange(tmp_path, {path: JSONResponse({"permissions": many})})
    assert examine(command, env, 0)["key"][-1][1].endswith("vm:11 and 8 more")
    cloud.replacement = Strange(tmp_path, {path: JSONResponse([])})
    assert examine(command, env, 0)["key"][-1][0] == "note"


def test_a_bad_setting_is_told_among_the_others(command: Command, tmp_path: Path) -> None:
    told = examine(command, environment(tmp_path, SNAPSHOT_MCP_TIMEOUT="abc"), 2)
    assert told["settings"][0][0] == "bad"
    assert "cloud" not in told


def test_a_bad_setting_of_a_service_is_told_and_its_token_is_not(
    command: Command, tmp_path: Path
) -> None:
    env = environment(tmp_path, SNAPSHOT_MCP_BEARER_TOKEN="too-short")  # noqa: S106 - none
    told = examine(command, env, code=2)
    assert "SNAPSHOT_MCP_BEARER_TOKEN" in told["settings"][0][1]
    assert "too-short" not in str(told)


def test_a_ledger_is_whole_or_its_trouble_is_told(command: Command, tmp_path: Path) -> None:
    env = environment(tmp_path)
    with ready_server(tmp_path) as server:
        target: dict[str, object] = {"snapshot_id": ready(server)[0]["id"]}
        server.call_tool("delete_snapshot", **commit_arguments(server, "delete_snapshot", target))
    assert examine(command, env, 0)["ledger"] == [("ok", "whole")]
    with closing(sqlite3.connect(tmp_path / LEDGER_FILE)) as ledger, ledger:
        ledger.execute("DROP TRIGGER attempts_are_not_updated")
        ledger.execute("UPDATE attempts SET reason = 'another'")
    ((state, text),) = examine(command, env, 1)["ledger"]
    assert state == "bad"
    assert "Row 1: it was altered" in text
    assert text.endswith("more")


def test_a_ledger_that_is_none_is_told(command: Command, tmp_path: Path) -> None:
    (tmp_path / LEDGER_FILE).write_text("nonsense " * 1000)
    assert examine(command, environment(tmp_path), 1)["ledger"][0][0] == "bad"


def test_a_policy_is_read_or_its_trouble_is_told(command: Command, tmp_path: Path) -> None:
    policy = tmp_path / "policy.toml"
    env = environment(tmp_path / "data", SNAPSHOT_MCP_POLICY=str(policy))
    policy.write_text("[protect]\nlabels = ['keep']\n")
    assert examine(command, env, 0)["policy"] == [("ok", str(policy))]
    policy.write_text("nonsense")
    assert examine(command, env, 1)["policy"][0][0] == "bad"


def test_a_folder_that_cannot_be_made_or_has_no_room_is_told(
    command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    told = examine(command, environment(tmp_path / "file" / "data"), 1)
    assert told["data folder"][0][0] == "bad"
    monkeypatch.setattr("snapshot_mcp.cli.doctor.local_checks.MIN_FREE_BYTES", 1 << 80)
    ended = command("doctor", "--json", env=environment(tmp_path / "data"))
    assert found(ended)["data folder"][1][0] == "note"


if sys.platform != "win32":

    def test_a_folder_that_others_may_enter_is_told(command: Command, tmp_path: Path) -> None:
        tmp_path.chmod(0o755)
        told = examine(command, environment(tmp_path), 0)["data folder"]
        assert told[1] == ("note", f"others may enter it: chmod 700 {tmp_path}")
