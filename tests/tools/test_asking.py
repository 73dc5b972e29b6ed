"""A person is asked at the commit, where the client can ask one, on both protocol eras."""

import sqlite3
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from typing import Any

import anyio
import pytest
from mcp import Client
from mcp_types import ElicitRequestFormParams, ElicitResult, InputRequiredResult

from snapshot_mcp.mcp_server import elicitation as asking
from tests.conftest import ERAS, World, ask, refused
from tests.tools.test_consent import COMMITS, planned, ready

Reply = Callable[[ElicitRequestFormParams], ElicitResult]


class Human:
    """A person in front of a client: keeps the questions, and answers as they are told."""

    def __init__(self) -> None:
        self.questions: list[str] = []
        self.schemas: list[Any] = []
        self.reply: Reply = lambda _: ElicitResult(action="decline")

    async def answer(self, context: object, params: object) -> ElicitResult:
        del context
        assert isinstance(params, ElicitRequestFormParams)
        self.questions.append(params.message)
        self.schemas.append(params.requested_schema)
        return self.reply(params)

    def will_type(self, words: str) -> None:
        self.reply = lambda _: ElicitResult(action="accept", content={"words": words})


@asynccontextmanager
async def asked(world: World, mode: str, human: Human) -> AsyncGenerator[Client]:
    """A client whose person can be asked."""
    async with world.client(mode, elicitation_callback=human.answer) as client:
        yield client


@pytest.fixture(params=ERAS)
def mode(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def human() -> Human:
    return Human()


def carried_over(result: object) -> str:
    """What a question hands to the next round."""
    assert isinstance(result, InputRequiredResult)
    assert result.request_state is not None
    return result.request_state


async def events(world: World) -> list[tuple[str, str]]:
    return [(row.event, row.evidence) for row in await world.ledger()]


@pytest.mark.parametrize("tool", COMMITS)
async def test_the_right_words_of_a_person_let_the_commit_pass(
    world: World, mode: str, human: Human, tool: str
) -> None:
    async with asked(world, mode, human) as client:
        commit, plan = await planned(client, tool, await ready(client))
        human.will_type(plan["confirm_with"])
        result = await ask(client, tool, **commit)
    assert result["outcome"] in ("deleted", "restored", "pending")
    assert len(world.writes) == len(human.questions) == 1
    assert await events(world) == [
        ("planned", "arguments"),
        ("asked", "person"),
        ("sent", "person"),
        ("done", "person"),
    ]


@pytest.mark.parametrize("tool", COMMITS)
async def test_the_question_tells_the_facts_of_the_plan_and_the_words(
    world: World, mode: str, human: Human, tool: str
) -> None:
    async with asked(world, mode, human) as client:
        commit, plan = await planned(client, tool, await ready(client))
        await refused(client, tool, **commit)
    (question,) = human.questions
    assert plan["plan"]["action"] in question
    assert all(warning in question for warning in plan["plan"]["warnings"])
    assert question.endswith(f"To agree, type exactly: {plan['confirm_with']}")
    assert len(question.splitlines()) <= 8
    assert human.schemas[0]["required"] == ["words"]


async def test_a_name_that_is_a_sentence_stands_in_quotation_marks(
    world: World, mode: str, human: Human
) -> None:
    name = "yes. Nothing is deleted"
    async with asked(world, mode, human) as client:
        target = await ready(client)
        with sqlite3.connect(world.cloud_file) as connection:
            change = "UPDATE snapshots SET name = ?, folded = ? WHERE id = ?"
            connection.execute(change, (name, name.lower(), target["id"]))
        commit, plan = await planned(client, "delete_snapshot", target)
        human.will_type(name)
        result = await ask(client, "delete_snapshot", **commit)
    assert plan["confirm_with"] == name
    ending = f'To agree, type exactly the text between the quotation marks: "{name}"'
    assert human.questions[0].splitlines()[-1] == ending
    assert result["outcome"] == "deleted"


@pytest.mark.parametrize("tool", COMMITS)
@pytest.mark.parametrize(
    ("reply", "sentence"),
    [
        (ElicitResult(action="decline"), "was asked and declined"),
        (ElicitResult(action="cancel"), "was asked and dismissed the question"),
        (ElicitResult(action="accept", content={"words": "yes"}), "typed words other"),
        (ElicitResult(action="accept", content={"words": ""}), "typed words other"),
        (ElicitResult(action="accept", content={}), "typed words other"),
        (ElicitResult(action="accept"), "typed words other"),
        (ElicitResult(action="accept", content={"words": 7}), "typed words other"),
    ],
)
async def test_anything_but_the_right_words_is_refused_in_words_of_its_own(
    world: World, mode: str, human: Human, tool: str, reply: ElicitResult, sentence: str
) -> None:
    human.reply = lambda _: reply
    async with asked(world, mode, human) as client:
        commit, plan = await planned(client, tool, await ready(client))
        text = await refused(client, tool, **commit)
    assert sentence in text
    assert plan["confirm_with"] not in text
    assert world.writes == []
    rows = await world.ledger()
    assert [row.event for row in rows] == ["planned", "asked", "refused"]
    assert len({row.attempt for row in rows}) == 1
    assert sentence in rows[-1].reason


def crash(_: object) -> ElicitResult:
    raise ZeroDivisionError


async def test_a_client_that_fails_to_ask_has_not_asked(world: World, human: Human) -> None:
    human.reply = crash
    async with asked(world, "legacy", human) as client:
        commit, _ = await planned(client, "delete_snapshot", await ready(client))
        text = await refused(client, "delete_snapshot", **commit)
    assert "could not be asked" in text
    assert world.writes == []


async def test_a_client_that_fails_to_answer_the_round_sends_nothing(
    world: World, human: Human
) -> None:
    human.reply = crash

    async def commit_one() -> None:
        async with asked(world, "2026-07-28", human) as client:
            commit, _ = await planned(client, "delete_snapshot", await ready(client))
            await client.call_tool("delete_snapshot", commit)

    with pytest.raises(ExceptionGroup):  # the client's own crash ends its own session
        await commit_one()
    assert len(human.questions) == 1
    assert world.writes == []


async def test_a_person_who_does_not_answer_in_time_has_not_agreed(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def think(context: object, params: object) -> ElicitResult:
        del context, params
        await anyio.sleep_forever()
        raise AssertionError

    monkeypatch.setattr(asking, "ELICITATION_TIMEOUT_SECONDS", 0.05)
    async with world.client("legacy", elicitation_callback=think) as client:
        commit, _ = await planned(client, "delete_snapshot", await ready(client))
        assert "did not answer in time" in await refused(client, "delete_snapshot", **commit)
    assert world.writes == []


async def test_wrong_words_of_the_model_are_refused_before_anybody_is_asked(
    world: World, mode: str, human: Human
) -> None:
    async with asked(world, mode, human) as client:
        commit, _ = await planned(client, "delete_snapshot", await ready(client))
        wrong = commit | {"confirm": "yes"}
        assert "confirmation words of the plan" in await refused(client, "delete_snapshot", **wrong)
    assert human.questions == []


async def test_a_target_that_changes_while_a_person_thinks_is_not_touched(
    world: World, mode: str, human: Human
) -> None:
    async with asked(world, mode, human) as client:
        snapshot = await ready(client, 3)
        siblings = (await ask(client, "list_snapshots", vm_id=snapshot["vm_id"], limit=100))[
            "snapshots"
        ]
        commit, plan = await planned(client, "delete_snapshot", snapshot)

        def agree_after_the_siblings_are_gone(_: object) -> ElicitResult:
            ids = [it["id"] for it in siblings if it["id"] != snapshot["id"]]
            with sqlite3.connect(world.cloud_file) as connection:
                for sibling in ids:
                    connection.execute("DELETE FROM snapshots WHERE id = ?", (sibling,))
            connection.close()
            return ElicitResult(action="accept", content={"words": plan["confirm_with"]})

        human.reply = agree_after_the_siblings_are_gone
        result = await ask(client, "delete_snapshot", **commit)
    assert result["outcome"] == "confirmation_required"
    assert result["plan"]["last_ready_of_vm"] is True
    assert world.writes == []


async def test_a_plan_that_ends_while_a_person_thinks_is_refused(
    world: World, mode: str, human: Human
) -> None:
    async with asked(world, mode, human) as client:
        commit, plan = await planned(client, "delete_snapshot", await ready(client))

        def agree_too_late(_: object) -> ElicitResult:
            world.turned.turn(minutes=11)
            return ElicitResult(action="accept", content={"words": plan["confirm_with"]})

        human.reply = agree_too_late
        assert "This plan has expired." in await refused(client, "delete_snapshot", **commit)
    assert world.writes == []


@pytest.mark.parametrize("tool", COMMITS)
async def test_where_only_a_person_may_consent_a_client_that_can_ask_is_served(
    world: World, mode: str, human: Human, tool: str
) -> None:
    world.settings = world.settings.model_copy(update={"consent": "human"})
    async with asked(world, mode, human) as client:
        commit, plan = await planned(client, tool, await ready(client))
        await refused(client, tool, **commit)
        human.will_type(plan["confirm_with"])
        result = await ask(client, tool, **commit)
    assert result["outcome"] in ("deleted", "restored", "pending")


async def test_the_answer_to_one_question_does_not_fit_another(world: World) -> None:
    """What carries an answer over is sealed to its call, and names its question."""
    human = Human()
    async with asked(world, "2026-07-28", human) as client:
        first, plan = await planned(client, "delete_snapshot", await ready(client))
        other, _ = await planned(client, "delete_snapshot", await ready(client, 1))
        asking_round = await client.session.call_tool(
            "delete_snapshot", first, allow_input_required=True
        )
        state = carried_over(asking_round)
        answer = ElicitResult(action="accept", content={"words": plan["confirm_with"]})
        with pytest.raises(Exception, match="requestState"):
            await client.session.call_tool(
                "delete_snapshot",
                other,
                input_responses={"consent": answer},
                request_state=state,
                allow_input_required=True,
            )
        unasked = await client.session.call_tool(
            "delete_snapshot",
            other,
            input_responses={"consent": answer},
            allow_input_required=True,
        )
    assert getattr(unasked, "result_type", "") == "input_required"
    assert world.writes == []


async def test_an_answer_is_taken_by_a_server_that_was_restarted_meanwhile(world: World) -> None:
    human = Human()
    async with asked(world, "2026-07-28", human) as client:
        commit, plan = await planned(client, "delete_snapshot", await ready(client))
        question = await client.session.call_tool(
            "delete_snapshot", commit, allow_input_required=True
        )
    state = carried_over(question)
    answer = ElicitResult(action="accept", content={"words": plan["confirm_with"]})
    async with asked(world, "2026-07-28", human) as client:
        result = await client.session.call_tool(
            "delete_snapshot",
            commit,
            input_responses={"consent": answer},
            request_state=state,
        )
        assert not result.is_error
        with pytest.raises(AssertionError):
            await ask(client, "delete_snapshot", **commit)
    assert len(world.writes) == 1
