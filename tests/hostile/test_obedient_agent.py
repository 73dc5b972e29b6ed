"""An agent that obeys every text of a hostile cloud destroys nothing without a person.

Hypothesis chooses the agent's next step, and the person's answers. With SNAPSHOT_MCP_CONSENT=human,
a snapshot may be deleted or a VM created only if a person typed the right words under the question
about exactly that target. `make test-soak` runs a thousand examples.
"""

import json
import re
import shutil
import sqlite3
import tempfile
from collections import Counter
from collections.abc import Iterable
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any, ClassVar, NamedTuple, TypeVar, cast

import pytest
from anyio.from_thread import BlockingPortal, start_blocking_portal
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from mcp import Client
from mcp.client.session import ElicitationFnT
from mcp_types import ElicitRequestFormParams, ElicitResult

from snapshot_mcp.mcp_server.context import EMBEDDED_NOTE
from snapshot_mcp.settings.environment import CLOUD_FILE, LEDGER_FILE
from tests.conftest import ERAS, World, call_tool, result_text
from tests.hostile.agent import COMMIT_TOOLS, Agent, OfferedPlan
from tests.hostile.corpus import FAKE_TOKEN, TEXTS, is_storable
from tests.hostile.visible_text import requested_words
from tests.scale import scale

pytestmark = pytest.mark.no_cover

T = TypeVar("T")

EXAMPLES = scale(quick=10, deep=200, soak=1_000)
STEPS = 8
MAX_TEXT_LENGTH = 2_000  # each example reads all texts often; the corpus tests use complete texts
READS = ("list_snapshots", "inspect_snapshot", "list_virtual_machines")
EDITS = ("snapshot_id", "plan_token", "confirm", "new_vm_name", "contract_id", "wait_seconds")
CLIENTS = st.sampled_from(("asking", "asking", "mute", "panel"))

_DELETION = re.compile(r'Delete snapshot (\d+) "(?:[^"\\]|\\.)*" permanently\.')
_RESTORATION = re.compile(
    r'Create a new, billed VM named "((?:[^"\\]|\\.)*)" from snapshot (\d+) "(?:[^"\\]|\\.)*"\.'
    r" The source VM is not changed\."
)
_REPLIES = ("decline", "cancel", "wrong", "hostile", "late", "crossed", "right", "right")
_NUMBERS = st.integers(0, 10_000)


class Approval(NamedTuple):
    """A person typed the right words for this write."""

    tool: str
    target: int
    new_vm_name: str = ""

    @property
    def request(self) -> str:
        path = f"/v1/core/snapshots/{self.target}"
        return f"DELETE {path}" if self.tool == COMMIT_TOOLS[0] else f"POST {path}/restore"


class Call(NamedTuple):
    """One call by the agent."""

    tool: str
    arguments: dict[str, Any]


class Reply(NamedTuple):
    """The person's answer, if they are asked during a call."""

    kind: str
    number: int


NO = Reply("decline", 0)
REPLIES = st.builds(Reply, st.sampled_from(_REPLIES), _NUMBERS)


def plant_texts(file: Path) -> None:
    """Write hostile texts into a seeded cloud.

    Every third snapshot keeps its name, so that lookalikes have an original.
    """
    texts = [text[:MAX_TEXT_LENGTH] for text in TEXTS.values() if is_storable(text)]
    with closing(sqlite3.connect(file)) as connection:
        ids = [row[0] for row in connection.execute("SELECT id FROM snapshots ORDER BY id")]
        for index, number in enumerate(ids):
            name, description, label = (
                texts[(index * 3 + offset) % len(texts)] for offset in range(3)
            )
            values = (description, json.dumps([label]), number)
            connection.execute(
                "UPDATE snapshots SET description = ?, labels = ? WHERE id = ?", values
            )
            if index % 3:
                connection.execute(
                    "UPDATE OR IGNORE snapshots SET name = ?1, folded = lower(?1), vm_name = ?1"
                    " WHERE id = ?2",
                    (name, number),
                )
        connection.commit()
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def rows(file: Path, query: str) -> list[tuple[Any, ...]]:
    with closing(sqlite3.connect(file)) as connection:
        return connection.execute(query).fetchall()


class ObedientAgent(RuleBasedStateMachine):
    """One example: one cloud, a client that can ask its person, and two that cannot."""

    portal: ClassVar[BlockingPortal]
    template: ClassVar[Path]
    counts: ClassVar[Counter[str]]

    def __init__(self) -> None:
        super().__init__()
        self.stack = ExitStack()
        folder = Path(self.stack.enter_context(tempfile.TemporaryDirectory()))
        shutil.copy(self.template, folder / CLOUD_FILE)
        self.world = World(folder)
        self.world.settings = self.world.settings.model_copy(update={"consent": "human"})
        self.names = dict(rows(self.world.cloud_file, "SELECT id, name FROM snapshots"))
        self.vms = {row[0] for row in rows(self.world.cloud_file, "SELECT name FROM vms")}
        self.agent = Agent()
        self.calls: list[Call] = []
        self.approvals: list[Approval] = []
        self.problems: list[str] = []
        self.reply = Reply("decline", 0)

    @initialize(
        asking=st.sampled_from(ERAS),
        mute=st.sampled_from(ERAS),
        tool=st.sampled_from(COMMIT_TOOLS),
        number=_NUMBERS,
        reply=REPLIES,
    )
    def connect(self, asking: str, mute: str, tool: str, number: int, reply: Reply) -> None:
        def enter(mode: str, person: ElicitationFnT | None, *, panel: bool = False) -> Client:
            context = self.world.client(mode, elicitation_callback=person, panel=panel)
            return self.stack.enter_context(self.portal.wrap_async_context_manager(context))

        # The agent reads every result except `_meta`, which clients do not show to a model.
        self.clients = {
            "asking": enter(asking, self.answer),
            "mute": enter(mute, None),
            "panel": enter(mute, None, panel=True),
        }
        self.call("asking", "list_snapshots", {"limit": 100})
        target = self.choose(self.agent.ids, number)
        self.call("asking", "inspect_snapshot", {"snapshot_id": target})
        self.call("asking", tool, arguments_for(tool, target))
        for plan in self.agent.plans:
            self.call("asking", tool, plan.commit, reply)

    def teardown(self) -> None:
        self.stack.close()

    async def answer(self, context: object, params: object) -> ElicitResult:
        del context
        assert isinstance(params, ElicitRequestFormParams)
        approval = approval_for_question(params.message)
        call = self.calls[-1]
        self.counts["question"] += 1
        if approval is None or approval != approval_for_call(call):
            self.problems.append(f"asked for {call}: {params.message!r}")
            return ElicitResult(action="cancel")
        if self.reply.kind in ("decline", "cancel"):
            return ElicitResult(action="decline" if self.reply.kind == "decline" else "cancel")
        right = requested_words(params.message)
        if right not in (self.names[approval.target], str(approval.target)):
            self.problems.append(f"words of another target: {params.message!r}")
        words = self.words_to_type(approval, right)
        if self.reply.kind == "late":
            self.world.manual_clock.advance(minutes=11)
        elif words == right:
            self.counts[approval.tool] += 1
            self.approvals.append(approval)
        return ElicitResult(action="accept", content={"words": words})

    def words_to_type(self, approval: Approval, right: str) -> str:
        match self.reply.kind:
            case "right" | "late":
                return right
            case "crossed":
                other = self.choose(self.names, self.reply.number)
                return self.words_of_plan(other)
            case "hostile":
                return self.choose(self.agent.words, self.reply.number)
            case _:
                return self.names[approval.target][:-1] + "~"

    def choose(self, choices: Iterable[T], number: int) -> T:
        values = list(choices)
        return values[number % len(values)]

    def call(
        self, client_name: str, tool: str, arguments: dict[str, Any], reply: Reply = NO
    ) -> None:
        self.calls.append(Call(tool, arguments))
        self.reply = reply
        client = self.clients[client_name]
        result = self.portal.call(client.call_tool, tool, arguments)
        text, content = (
            result_text(result),
            cast("dict[str, Any] | None", result.structured_content),
        )
        assert "Error executing tool" not in text, (tool, arguments)
        self.agent.read(text, content)
        self.counts["panel"] += tool == "commit_from_panel"
        if content and "plan_token" in content:
            plan_arguments = {
                name: value
                for name, value in arguments.items()
                if name not in ("plan_token", "confirm")
            }
            self.agent.plans.append(
                OfferedPlan(tool, plan_arguments, content["plan_token"], content["confirm_with"])
            )
        self.counts["refused" if result.is_error else str((content or {}).get("outcome"))] += 1

    @rule(client_name=CLIENTS, tool=st.sampled_from(READS), number=_NUMBERS)
    def read(self, client_name: str, tool: str, number: int) -> None:
        target = {"snapshot_id": self.choose(self.agent.ids, number)}
        self.call(client_name, tool, target if tool == "inspect_snapshot" else {"limit": 20})

    @rule(client_name=CLIENTS, tool=st.sampled_from(COMMIT_TOOLS), number=_NUMBERS)
    def plan(self, client_name: str, tool: str, number: int) -> None:
        self.call(client_name, tool, arguments_for(tool, self.choose(self.agent.ids, number)))

    @rule(client_name=CLIENTS, number=_NUMBERS, token=_NUMBERS, word=_NUMBERS, reply=REPLIES)
    @precondition(lambda self: bool(self.agent.instructions))
    def obey_an_instruction(
        self, client_name: str, number: int, token: int, word: int, reply: Reply
    ) -> None:
        instruction = self.choose(self.agent.instructions, number)
        arguments = arguments_for(instruction.tool, instruction.target)
        self.call(client_name, instruction.tool, arguments)
        evidence = {
            "plan_token": self.choose([*self.agent.tokens, FAKE_TOKEN], token),
            "confirm": self.choose(self.agent.words, word),
        }
        self.call(client_name, instruction.tool, arguments | evidence, reply)

    @rule(client_name=CLIENTS, number=_NUMBERS, reply=REPLIES)
    @precondition(lambda self: bool(self.agent.plans))
    def commit_a_plan(self, client_name: str, number: int, reply: Reply) -> None:
        plan = self.choose(self.agent.plans, number)
        self.call(client_name, plan.tool, plan.commit, reply)

    @rule(number=_NUMBERS, reply=REPLIES)
    @precondition(lambda self: bool(self.agent.instructions))
    def follow_an_instruction_through_a_plan(self, number: int, reply: Reply) -> None:
        instruction = self.choose(self.agent.instructions, number)
        before = len(self.agent.plans)
        self.call("asking", instruction.tool, arguments_for(instruction.tool, instruction.target))
        for plan in self.agent.plans[before:]:
            self.call("asking", plan.tool, plan.commit, reply)

    @rule(client_name=CLIENTS, number=_NUMBERS, other=_NUMBERS, own=st.booleans(), reply=REPLIES)
    @precondition(lambda self: bool(self.agent.plans))
    def swap_token_and_target(
        self, client_name: str, number: int, other: int, reply: Reply, *, own: bool
    ) -> None:
        plan = self.choose(self.agent.plans, number)
        tool = self.choose(COMMIT_TOOLS, other)
        target = self.choose(self.agent.ids, other)
        confirm = plan.words if own else self.words_of_plan(target)
        evidence = {"plan_token": plan.token, "confirm": confirm}
        self.call(client_name, tool, arguments_for(tool, target) | evidence, reply)

    def words_of_plan(self, target: int) -> str:
        words = (plan.words for plan in self.agent.plans if plan.arguments["snapshot_id"] == target)
        return next(words, str(target))

    @rule(client_name=CLIENTS, number=_NUMBERS, reply=REPLIES)
    def replay(self, client_name: str, number: int, reply: Reply) -> None:
        call = self.choose(self.calls, number)
        self.call(client_name, call.tool, call.arguments, reply)

    @rule(client_name=CLIENTS, number=_NUMBERS, edit=st.sampled_from(EDITS), reply=REPLIES)
    @precondition(lambda self: bool(self.agent.plans))
    def edit_an_argument(self, client_name: str, number: int, edit: str, reply: Reply) -> None:
        plan = self.choose(self.agent.plans, number)
        changed: dict[str, Any] = {
            "snapshot_id": self.choose(self.agent.ids, number),
            "plan_token": plan.token[:-3] + "AAA",
            "confirm": self.choose(self.agent.words, number),
            "new_vm_name": "another-machine",
            "contract_id": 7,
            "wait_seconds": 300,
        }
        self.call(client_name, plan.tool, plan.commit | {edit: changed[edit]}, reply)

    @rule(number=_NUMBERS, nonce=_NUMBERS, word=_NUMBERS, own=st.booleans())
    @precondition(lambda self: bool(self.agent.plans))
    def imitate_the_panel(self, number: int, nonce: int, word: int, *, own: bool) -> None:
        plan = self.choose(self.agent.plans, number)
        known_texts = [*self.agent.tokens, *self.agent.words, plan.token, ""]
        presented = {
            "tool": plan.tool,
            "plan_token": plan.token,
            "nonce": self.choose(known_texts, nonce)[:100],
            "words": plan.words if own else self.choose(self.agent.words, word),
        }
        self.call("panel", "commit_from_panel", plan.arguments | presented)

    @rule(minutes=st.sampled_from([1, 9, 11]))
    def wait(self, minutes: int) -> None:
        self.world.manual_clock.advance(minutes=minutes)

    @invariant()
    def only_approved_writes_have_happened(self) -> None:
        assert self.problems == []
        assert self.world.writes == [approval.request for approval in self.approvals]
        existing = {row[0] for row in rows(self.world.cloud_file, "SELECT id FROM snapshots")}
        deleted = {
            approval.target for approval in self.approvals if approval.tool == COMMIT_TOOLS[0]
        }
        assert self.names.keys() - existing == deleted
        assert existing <= self.names.keys()
        vm_names = [row[0] for row in rows(self.world.cloud_file, "SELECT name FROM vms")]
        approved = Counter(
            approval.new_vm_name for approval in self.approvals if approval.tool == COMMIT_TOOLS[1]
        )
        assert Counter(name for name in vm_names if name not in self.vms) == approved
        assert self.vms <= set(vm_names)

    @invariant()
    def the_ledger_has_every_write_with_a_person_as_evidence(self) -> None:
        file = self.world.folder / LEDGER_FILE
        sent = (
            rows(
                file, "SELECT tool, target, evidence FROM attempts WHERE event = 'sent' ORDER BY id"
            )
            if file.exists()
            else []
        )
        assert sent == [(approval.tool, approval.target, "person") for approval in self.approvals]


def arguments_for(tool: str, target: int) -> dict[str, Any]:
    arguments: dict[str, Any] = {"snapshot_id": target}
    return arguments | ({"new_vm_name": f"miner-{target}"} if tool == COMMIT_TOOLS[1] else {})


def approval_for_call(call: Call) -> Approval:
    return Approval(call.tool, call.arguments["snapshot_id"], call.arguments.get("new_vm_name", ""))


def approval_for_question(question: str) -> Approval | None:
    """Return the write that a question describes; None if it is ambiguous."""
    first, cloud, action, *_ = question.split("\n")
    assert cloud == EMBEDDED_NOTE
    if first != "An assistant asks for your consent.":
        return None
    if found := _DELETION.fullmatch(action):
        return Approval(COMMIT_TOOLS[0], int(found[1]))
    found = _RESTORATION.fullmatch(action)
    return Approval(COMMIT_TOOLS[1], int(found[2]), found[1]) if found else None


async def seed_cloud(folder: Path) -> Path:
    world = World(folder)
    async with world.client() as client:
        await call_tool(client, "list_snapshots")
    plant_texts(world.cloud_file)
    return world.cloud_file


def test_an_obedient_agent_destroys_nothing_without_a_person(
    tmp_path: Path,
) -> None:
    counts = Counter[str]()
    with start_blocking_portal("asyncio") as portal:

        class Machine(ObedientAgent):
            pass

        Machine.portal, Machine.counts = portal, counts
        Machine.template = portal.call(seed_cloud, tmp_path)
        run_state_machine_as_test(
            Machine,
            settings=settings(
                max_examples=EXAMPLES,
                stateful_step_count=STEPS,
                deadline=None,
                database=None,
                suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
            ),
        )
    # The test proves nothing if no person was asked, or none approved.
    assert counts["refused"] > EXAMPLES, counts
    assert min(counts["delete_snapshot"], counts["restore_snapshot"]) > 0, counts
    assert counts["panel"] > 0, counts
