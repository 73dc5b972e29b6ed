"""Elicitation: at the commit a person is asked, if the client can ask one, in both eras."""

import sqlite3

import anyio
import pytest
from mcp_types import ElicitResult, InputRequiredResult

from snapshot_mcp.mcp_server import elicitation
from tests.conftest import ERAS, World, call_tool, call_tool_error
from tests.tools.helpers import (
    PLANNED_TOOLS,
    FakePerson,
    client_with_person,
    make_plan,
    ready_snapshot,
)
from tests.waiting import ANSWER_TIMEOUT_SECONDS


@pytest.fixture(params=ERAS)
def mode(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def person() -> FakePerson:
    return FakePerson()


def request_state_of(result: object) -> str:
    """Return the request state that a question passes to the next round."""
    assert isinstance(result, InputRequiredResult)
    assert result.request_state is not None
    return result.request_state


async def recorded_evidence(world: World) -> list[tuple[str, str]]:
    return [(row.event, row.evidence) for row in await world.ledger()]


@pytest.mark.parametrize("tool", PLANNED_TOOLS)
async def test_a_commit_passes_if_the_person_types_the_confirmation_words(
    world: World, mode: str, person: FakePerson, tool: str
) -> None:
    async with client_with_person(world, mode, person) as client:
        commit, plan = await make_plan(client, tool, await ready_snapshot(client))
        person.will_type(plan["confirm_with"])
        result = await call_tool(client, tool, **commit)
    assert result["outcome"] in ("deleted", "restored", "pending")
    assert len(world.writes) == len(person.questions) == 1
    assert await recorded_evidence(world) == [
        ("planned", "arguments"),
        ("asked", "person"),
        ("sent", "person"),
        ("done", "person"),
    ]


@pytest.mark.parametrize("tool", PLANNED_TOOLS)
async def test_the_question_contains_the_facts_of_the_plan_and_the_words(
    world: World, mode: str, person: FakePerson, tool: str
) -> None:
    async with client_with_person(world, mode, person) as client:
        commit, plan = await make_plan(client, tool, await ready_snapshot(client))
        await call_tool_error(client, tool, **commit)
    (question,) = person.questions
    assert plan["plan"]["action"] in question
    assert all(warning in question for warning in plan["plan"]["warnings"])
    assert question.endswith(f"To agree, type exactly: {plan['confirm_with']}")
    assert len(question.splitlines()) <= 8
    assert person.schemas[0]["required"] == ["words"]


async def test_a_name_that_reads_as_a_sentence_is_quoted(
    world: World, mode: str, person: FakePerson
) -> None:
    name = "yes. Nothing is deleted"
    async with client_with_person(world, mode, person) as client:
        target = await ready_snapshot(client)
        with sqlite3.connect(world.cloud_file) as connection:
            change = "UPDATE snapshots SET name = ?, folded = ? WHERE id = ?"
            connection.execute(change, (name, name.lower(), target["id"]))
        commit, plan = await make_plan(client, "delete_snapshot", target)
        person.will_type(name)
        result = await call_tool(client, "delete_snapshot", **commit)
    assert plan["confirm_with"] == name
    ending = f'To agree, type exactly the text between the quotation marks: "{name}"'
    assert person.questions[0].splitlines()[-1] == ending
    assert result["outcome"] == "deleted"


@pytest.mark.parametrize("tool", PLANNED_TOOLS)
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
@pytest.mark.sampled(3)
async def test_every_other_answer_is_refused_with_its_own_message(
    world: World, mode: str, person: FakePerson, tool: str, reply: ElicitResult, sentence: str
) -> None:
    person.reply = lambda _: reply
    async with client_with_person(world, mode, person) as client:
        commit, plan = await make_plan(client, tool, await ready_snapshot(client))
        text = await call_tool_error(client, tool, **commit)
    assert sentence in text
    assert plan["confirm_with"] not in text
    assert world.writes == []
    rows = await world.ledger()
    assert [row.event for row in rows] == ["planned", "asked", "refused"]
    assert len({row.attempt for row in rows}) == 1
    assert sentence in rows[-1].reason


def crash(_: object) -> ElicitResult:
    raise ZeroDivisionError


async def test_a_client_that_fails_to_ask_gives_no_consent(
    world: World, person: FakePerson
) -> None:
    person.reply = crash
    async with client_with_person(world, "legacy", person) as client:
        commit, _ = await make_plan(client, "delete_snapshot", await ready_snapshot(client))
        text = await call_tool_error(client, "delete_snapshot", **commit)
    assert "could not be asked" in text
    assert world.writes == []
    assert [row.event for row in await world.ledger()] == ["planned", "refused"]


async def test_a_question_is_recorded_if_the_call_ends_while_it_is_open(world: World) -> None:
    asked = anyio.Event()

    async def never_answer(context: object, params: object) -> ElicitResult:
        del context, params
        asked.set()
        await anyio.sleep_forever()
        raise AssertionError

    with anyio.fail_after(ANSWER_TIMEOUT_SECONDS):
        async with world.client("legacy", elicitation_callback=never_answer) as client:
            commit, _ = await make_plan(client, "delete_snapshot", await ready_snapshot(client))
            async with anyio.create_task_group() as group:
                group.start_soon(client.call_tool, "delete_snapshot", commit)
                await asked.wait()
                group.cancel_scope.cancel()
    assert [row.event for row in await world.ledger()] == ["planned", "asked"]
    assert world.writes == []


async def test_a_client_that_fails_in_the_second_round_sends_nothing(
    world: World, person: FakePerson
) -> None:
    person.reply = crash

    async def commit_one() -> None:
        async with client_with_person(world, "2026-07-28", person) as client:
            commit, _ = await make_plan(client, "delete_snapshot", await ready_snapshot(client))
            await client.call_tool("delete_snapshot", commit)

    with pytest.raises(ExceptionGroup):  # the client's own crash ends its own session
        await commit_one()
    assert len(person.questions) == 1
    assert world.writes == []


async def test_a_person_who_does_not_answer_in_time_gives_no_consent(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def never_answer(context: object, params: object) -> ElicitResult:
        del context, params
        await anyio.sleep_forever()
        raise AssertionError

    monkeypatch.setattr(elicitation, "ELICITATION_TIMEOUT_SECONDS", 0.05)
    async with world.client("legacy", elicitation_callback=never_answer) as client:
        commit, _ = await make_plan(client, "delete_snapshot", await ready_snapshot(client))
        assert "did not answer in time" in await call_tool_error(
            client, "delete_snapshot", **commit
        )
    assert world.writes == []
    events = [row.event for row in await world.ledger()]
    assert events == ["planned", "asked", "refused"]


async def test_wrong_words_of_the_model_are_refused_before_the_person_is_asked(
    world: World, mode: str, person: FakePerson
) -> None:
    async with client_with_person(world, mode, person) as client:
        commit, _ = await make_plan(client, "delete_snapshot", await ready_snapshot(client))
        wrong = commit | {"confirm": "yes"}
        assert "confirmation words of the plan" in await call_tool_error(
            client, "delete_snapshot", **wrong
        )
    assert person.questions == []


async def test_a_target_that_changes_while_a_person_answers_is_not_touched(
    world: World, mode: str, person: FakePerson
) -> None:
    async with client_with_person(world, mode, person) as client:
        snapshot = await ready_snapshot(client, 3)
        siblings = (await call_tool(client, "list_snapshots", vm_id=snapshot["vm_id"], limit=100))[
            "snapshots"
        ]
        commit, plan = await make_plan(client, "delete_snapshot", snapshot)

        def agree_after_the_siblings_are_gone(_: object) -> ElicitResult:
            ids = [row["id"] for row in siblings if row["id"] != snapshot["id"]]
            with sqlite3.connect(world.cloud_file) as connection:
                for sibling in ids:
                    connection.execute("DELETE FROM snapshots WHERE id = ?", (sibling,))
            connection.close()
            return ElicitResult(action="accept", content={"words": plan["confirm_with"]})

        person.reply = agree_after_the_siblings_are_gone
        result = await call_tool(client, "delete_snapshot", **commit)
    assert result["outcome"] == "confirmation_required"
    assert result["plan"]["last_ready_of_vm"] is True
    assert world.writes == []


async def test_a_plan_that_expires_while_a_person_answers_is_refused(
    world: World, mode: str, person: FakePerson
) -> None:
    async with client_with_person(world, mode, person) as client:
        commit, plan = await make_plan(client, "delete_snapshot", await ready_snapshot(client))

        def agree_too_late(_: object) -> ElicitResult:
            world.manual_clock.advance(minutes=11)
            return ElicitResult(action="accept", content={"words": plan["confirm_with"]})

        person.reply = agree_too_late
        assert "This plan has expired." in await call_tool_error(
            client, "delete_snapshot", **commit
        )
    assert world.writes == []


@pytest.mark.parametrize("tool", PLANNED_TOOLS)
async def test_with_consent_human_a_client_that_can_ask_is_accepted(
    world: World, mode: str, person: FakePerson, tool: str
) -> None:
    world.settings = world.settings.model_copy(update={"consent": "human"})
    async with client_with_person(world, mode, person) as client:
        commit, plan = await make_plan(client, tool, await ready_snapshot(client))
        await call_tool_error(client, tool, **commit)
        person.will_type(plan["confirm_with"])
        result = await call_tool(client, tool, **commit)
    assert result["outcome"] in ("deleted", "restored", "pending")


async def test_the_answer_to_one_question_does_not_fit_another(world: World) -> None:
    """The request state of a question is sealed to its call and its question."""
    person = FakePerson()
    async with client_with_person(world, "2026-07-28", person) as client:
        first, plan = await make_plan(client, "delete_snapshot", await ready_snapshot(client))
        other, _ = await make_plan(client, "delete_snapshot", await ready_snapshot(client, 1))
        question = await client.session.call_tool(
            "delete_snapshot", first, allow_input_required=True
        )
        state = request_state_of(question)
        answer = ElicitResult(action="accept", content={"words": plan["confirm_with"]})
        with pytest.raises(Exception, match="requestState"):
            await client.session.call_tool(
                "delete_snapshot",
                other,
                input_responses={"consent": answer},
                request_state=state,
                allow_input_required=True,
            )
        without_state = await client.session.call_tool(
            "delete_snapshot",
            other,
            input_responses={"consent": answer},
            allow_input_required=True,
        )
    assert getattr(without_state, "result_type", "") == "input_required"
    assert world.writes == []


async def test_an_answer_is_accepted_by_a_restarted_server(world: World) -> None:
    person = FakePerson()
    async with client_with_person(world, "2026-07-28", person) as client:
        commit, plan = await make_plan(client, "delete_snapshot", await ready_snapshot(client))
        question = await client.session.call_tool(
            "delete_snapshot", commit, allow_input_required=True
        )
    state = request_state_of(question)
    answer = ElicitResult(action="accept", content={"words": plan["confirm_with"]})
    async with client_with_person(world, "2026-07-28", person) as client:
        result = await client.session.call_tool(
            "delete_snapshot",
            commit,
            input_responses={"consent": answer},
            request_state=state,
        )
        assert not result.is_error
        with pytest.raises(AssertionError):
            await call_tool(client, "delete_snapshot", **commit)
    assert len(world.writes) == 1
