"""`snapshot-mcp doctor`: the findings for each state of the machine and of the cloud."""

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

from snapshot_mcp.cli.doctor.cloud_checks import cloud_findings
from snapshot_mcp.cloud.connection import Connection
from snapshot_mcp.cloud.connection_failures import Destination
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


def findings_by_name(ended: CompletedProcess[str]) -> dict[str, list[tuple[str, str]]]:
    """Return state and text of every finding, by its name."""
    findings: dict[str, list[tuple[str, str]]] = {}
    for finding in json.loads(ended.stdout)["findings"]:
        findings.setdefault(finding["name"], []).append((finding["state"], finding["text"]))
    return findings


def run_doctor(
    command: Command, env: dict[str, str], code: int
) -> dict[str, list[tuple[str, str]]]:
    ended = command("doctor", "--json", env=env)
    assert (ended.returncode, ended.stderr) == (code, "")
    assert KEY not in ended.stdout
    assert json.loads(ended.stdout)["ok"] is (code == 0)
    return findings_by_name(ended)


def test_a_new_machine_is_healthy_and_no_file_is_created(command: Command, tmp_path: Path) -> None:
    ended = command("doctor", env=environment(tmp_path / "data"))
    assert ended.returncode == 0
    lines = ended.stdout.splitlines()
    assert [line[:4].strip() for line in lines] == ["ok"] * (len(lines) - 1) + ["note"]
    assert "SNAPSHOT_MCP_TIMEOUT: 10, by default" in ended.stdout
    assert "created on first use" in ended.stdout
    assert list(tmp_path.iterdir()) == []


def test_doctor_runs_as_a_process(tmp_path: Path) -> None:
    ended = run_command("doctor", env=environment(tmp_path))
    assert (ended.returncode, ended.stderr) == (0, "")


def test_settings_are_listed_with_their_source_and_without_the_key(
    command: Command, cloud: Upstream, tmp_path: Path
) -> None:
    env = environment(tmp_path / "data", HYPERSTACK_API_KEY=KEY, SNAPSHOT_MCP_API_URL=cloud.url)
    findings = run_doctor(command, env, 0)
    texts = [text for _, text in findings["setting"]]
    assert "SNAPSHOT_MCP_API_KEY: set (not shown), from HYPERSTACK_API_KEY" in texts
    assert f'SNAPSHOT_MCP_API_URL: "{cloud.url}", from SNAPSHOT_MCP_API_URL' in texts


def test_a_reachable_cloud_is_reported_with_what_the_key_may_read(
    command: Command, cloud: Upstream, tmp_path: Path
) -> None:
    findings = run_doctor(command, environment(tmp_path / "data", **cloud.settings), 0)
    ((state, text),) = findings["cloud"]
    assert state == "ok"
    assert text.startswith("answered in ")
    assert findings["clock"] == [("ok", "agrees with the cloud's clock")]
    subjects = ("snapshots", "VMs", "prices", "stock", "credit", "contracts")
    key = [text for _, text in findings["key"]]
    assert key[:-1] == ["accepted", *(f"may read {subject}" for subject in subjects)]
    assert key[-1].startswith("permissions reported by the cloud: virtual-machine:read,")
    assert findings["credit"] == [("ok", "250.00 USD")]
    ((_, contract),) = findings["contract"]
    assert contract.startswith('contract_id 77 "A100 reservation": active until ')
    assert cloud.writes == []


def test_a_rejected_key_is_bad(command: Command, cloud: Upstream, tmp_path: Path) -> None:
    env = environment(tmp_path / "data", **(cloud.settings | {"SNAPSHOT_MCP_API_KEY": "another"}))
    findings = run_doctor(command, env, 1)
    assert findings["cloud"][0][0] == "ok"
    ((state, text),) = findings["key"]
    assert state == "bad"
    assert "does not accept" in text


class PathOverrides:
    """The embedded cloud, with other answers for some paths."""

    def __init__(self, folder: Path, answers: dict[str, ASGIApp]) -> None:
        self._cloud = create_app(database=folder / "cloud.db", api_key=KEY, now=utc_now)
        self._answers = answers

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._answers.get(scope["path"], self._cloud)(scope, receive, send)


def error_response(status: int) -> JSONResponse:
    return JSONResponse({"status": False, "message": KEY}, status)


@pytest.mark.parametrize("can_create", [True, False])
def test_a_credit_that_creates_no_vm_is_bad(
    command: Command, cloud: Upstream, tmp_path: Path, *, can_create: bool
) -> None:
    data = {"credit": 0.5, "threshold": 0, "can_create_instance": can_create}
    answer = JSONResponse({"status": True, "data": data})
    cloud.replacement = PathOverrides(tmp_path, {"/v1/billing/user-credit/credit": answer})
    env = environment(tmp_path / "data", **cloud.settings)
    ((state, text),) = run_doctor(command, env, 0 if can_create else 1)["credit"]
    assert (state, text[:8]) == ("ok" if can_create else "bad", "0.50 USD")


def test_missing_read_permissions_of_the_key_are_reported(
    command: Command, cloud: Upstream, tmp_path: Path
) -> None:
    env = environment(tmp_path / "data", **cloud.settings)
    cloud.replacement = PathOverrides(tmp_path, {"/v1/core/snapshots": error_response(403)})
    assert run_doctor(command, env, 1)["key"] == [
        ("bad", "accepted, but it may not read snapshots; an administrator can grant that")
    ]
    cloud.replacement = PathOverrides(tmp_path, {"/v1/core/virtual-machines": error_response(403)})
    state, text = run_doctor(command, env, 0)["key"][2]
    assert state == "note"
    assert text.startswith("cannot read VMs: The API key lacks the permission")


@pytest.mark.parametrize("answer", [HTML_RESPONSE, error_response(500), JSONResponse([])])
def test_an_unexpected_answer_of_the_cloud_is_bad(
    command: Command,
    cloud: Upstream,
    answer: ASGIApp,
    tmp_path: Path,
) -> None:
    cloud.replacement = answer
    findings = run_doctor(command, environment(tmp_path / "data", **cloud.settings), 1)
    assert findings["cloud"][0][0] == "bad"
    assert "key" not in findings


def test_an_unreachable_cloud_is_bad(command: Command, tmp_path: Path) -> None:
    unreachable = Upstream(tmp_path / "cloud.db").settings
    findings = run_doctor(command, environment(tmp_path / "data", **unreachable), 1)
    assert findings["cloud"][0][0] == "bad"
    host = unreachable["SNAPSHOT_MCP_API_URL"].split("/")[2]
    assert findings["cloud"][0][1].startswith(f"{host} refuses connections: the port is closed;")
    assert "clock" not in findings


def test_unusable_proxy_settings_are_bad(command: Command, tmp_path: Path) -> None:
    env = environment(tmp_path, SNAPSHOT_MCP_API_KEY=KEY, ALL_PROXY="nonsense://127.0.0.1")
    ((state, text),) = run_doctor(command, env, 1)["cloud"]
    assert state == "bad"
    assert "proxy" in text


@pytest.mark.parametrize(
    ("ahead", "texts"),
    [
        ("300", ["this machine is 300 s behind the cloud, so snapshot ages are wrong"]),
        ("-300", ["this machine is 300 s ahead of the cloud, so snapshot ages are wrong"]),
        ("0", ["agrees with the cloud's clock"]),
        ("none", []),
        ("nonsense", []),
    ],
)
async def test_a_wrong_clock_is_reported(ahead: str, texts: list[str]) -> None:
    now = datetime(2026, 11, 20, 12, tzinfo=UTC)
    dates = {"none": {}, "nonsense": {"date": "yesterday"}}
    moment = now + timedelta(seconds=int(ahead)) if ahead not in dates else now
    headers = dates.get(ahead, {"date": format_datetime(moment, usegmt=True)})
    app = JSONResponse({"status": True, "snapshots": [], "count": 0}, headers=headers)
    clock = SYSTEM_CLOCK._replace(now=lambda: now)
    transport = ClockSkewTransport(httpx.ASGITransport(app), clock)
    async with Connection(transport, "http://cloud.test/v1", KEY, 5) as connection:
        result = await probe(connection, clock, timeout_seconds=5)
    findings = cloud_findings(result, transport.skew, Destination("cloud.test:80", "", "URL"))
    assert [finding.text for finding in findings if finding.name == "clock"] == texts


def test_permissions_that_the_cloud_reports_are_listed(
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
    cloud.replacement = PathOverrides(tmp_path, {path: JSONResponse(body)})
    assert run_doctor(command, env, 0)["key"][-1] == (
        "ok",
        "permissions reported by the cloud: snapshot:create[1m",
    )
    many = [{"resource": "vm", "permission": str(n)} for n in range(20)]
    cloud.replacement = PathOverrides(tmp_path, {path: JSONResponse({"permissions": many})})
    assert run_doctor(command, env, 0)["key"][-1][1].endswith("vm:11 and 8 more")
    cloud.replacement = PathOverrides(tmp_path, {path: JSONResponse([])})
    assert run_doctor(command, env, 0)["key"][-1][0] == "note"


def test_a_bad_setting_is_reported_and_the_cloud_is_not_checked(
    command: Command, tmp_path: Path
) -> None:
    findings = run_doctor(command, environment(tmp_path, SNAPSHOT_MCP_TIMEOUT="abc"), 2)
    assert findings["settings"][0][0] == "bad"
    assert "cloud" not in findings


def test_every_invalid_setting_is_reported(command: Command, tmp_path: Path) -> None:
    env = environment(
        tmp_path,
        SNAPSHOT_MCP_LOG_LEVEL="loud",
        SNAPSHOT_MCP_REQUESTS_PER_MINUTE="0",
        SNAPSHOT_MCP_TIMEOUT="abc",
        SNAPSHOT_MCP_PORT="9000",
    )
    findings = run_doctor(command, env, 2)["settings"]
    assert [state for state, _ in findings] == ["bad", "bad", "bad", "note"]
    names = ("LOG_LEVEL", "REQUESTS_PER_MINUTE", "TIMEOUT", "PORT")
    assert all(name in text for name, (_, text) in zip(names, findings, strict=True))


def test_a_misspelt_setting_is_reported_with_the_closest_one(
    command: Command, tmp_path: Path
) -> None:
    env = environment(tmp_path, SNAPSHOT_MCP_READONLY="true")
    ((state, text),) = run_doctor(command, env, 2)["settings"]
    assert state == "bad"
    assert "SNAPSHOT_MCP_READONLY is not a setting" in text
    assert "SNAPSHOT_MCP_READ_ONLY" in text


def test_a_bad_http_setting_is_reported_without_its_token(command: Command, tmp_path: Path) -> None:
    env = environment(tmp_path, SNAPSHOT_MCP_BEARER_TOKEN="too-short")  # noqa: S106 - none
    findings = run_doctor(command, env, code=2)
    assert "SNAPSHOT_MCP_BEARER_TOKEN" in findings["settings"][0][1]
    assert "too-short" not in str(findings)


def test_an_altered_ledger_is_bad(command: Command, tmp_path: Path) -> None:
    env = environment(tmp_path)
    with ready_server(tmp_path) as server:
        target: dict[str, object] = {"snapshot_id": ready(server)[0]["id"]}
        server.call_tool("delete_snapshot", **commit_arguments(server, "delete_snapshot", target))
    assert run_doctor(command, env, 0)["ledger"] == [("ok", "intact")]
    with closing(sqlite3.connect(tmp_path / LEDGER_FILE)) as ledger, ledger:
        ledger.execute("DROP TRIGGER attempts_are_not_updated")
        ledger.execute("UPDATE attempts SET reason = 'another'")
    ((state, text),) = run_doctor(command, env, 1)["ledger"]
    assert state == "bad"
    assert "Row 1: it was altered" in text
    assert text.endswith("more")


def test_a_file_that_is_not_a_ledger_is_bad(command: Command, tmp_path: Path) -> None:
    (tmp_path / LEDGER_FILE).write_text("nonsense " * 1000)
    assert run_doctor(command, environment(tmp_path), 1)["ledger"][0][0] == "bad"


def test_an_invalid_policy_is_bad(command: Command, tmp_path: Path) -> None:
    policy = tmp_path / "policy.toml"
    env = environment(tmp_path / "data", SNAPSHOT_MCP_POLICY=str(policy))
    policy.write_text("[protect]\nlabels = ['keep']\n")
    assert run_doctor(command, env, 0)["policy"] == [("ok", str(policy))]
    policy.write_text("nonsense")
    assert run_doctor(command, env, 1)["policy"][0][0] == "bad"


def test_an_unusable_or_full_data_folder_is_reported(
    command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    findings = run_doctor(command, environment(tmp_path / "file" / "data"), 1)
    assert findings["data folder"][0][0] == "bad"
    monkeypatch.setattr("snapshot_mcp.cli.doctor.local_checks.MIN_FREE_BYTES", 1 << 80)
    ended = command("doctor", "--json", env=environment(tmp_path / "data"))
    assert findings_by_name(ended)["data folder"][1][0] == "note"


if sys.platform != "win32":

    def test_a_data_folder_open_to_other_users_is_reported(
        command: Command, tmp_path: Path
    ) -> None:
        tmp_path.chmod(0o755)
        findings = run_doctor(command, environment(tmp_path), 0)["data folder"]
        assert findings[1] == ("note", f"other users have access: chmod 700 {tmp_path}")
