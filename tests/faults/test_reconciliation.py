"""Writes without an answer: only what the cloud shows is reported and recorded."""

from typing import Any

import httpx
import pytest
from mcp import Client

from tests.conftest import call_tool
from tests.faults.faults import (
    ClockJump,
    ConnectionReset,
    ErrorStatus,
    Fault,
    NoAnswer,
    SentTwice,
    TruncatedBody,
    When,
    WrongBody,
    WrongContentType,
)
from tests.faults.helpers import HAPPENED, TOOLS, commit_arguments, under
from tests.faults.world import FaultyWorld
from tests.tools.helpers import creation_arguments

pytestmark = [pytest.mark.one_era, pytest.mark.no_cover]

LOOKUP_HINTS = {
    "create_snapshot": "list_snapshots with search",
    "restore_snapshot": "list_virtual_machines with search",
    "delete_snapshot": "inspect_snapshot with",
    "create_image_from_snapshot": "inspect_snapshot with",
}
AFTER_IT_TOOK_EFFECT = [
    ConnectionReset("before"),
    ConnectionReset("before", error=httpx.RemoteProtocolError),
    ConnectionReset("late", 9),
    NoAnswer("before"),
    NoAnswer("late", 1),
    TruncatedBody(),
    TruncatedBody(torn=False),
    WrongBody(),
    WrongBody(b"", "application/json"),
    WrongBody(b"\xff\xfe\x00", "application/json"),
    WrongBody(b'{"status": true}', "application/json"),
    WrongBody(b'{"status": false, "message": "?"}', "application/json"),
    WrongBody(b'{"status": 500}', "application/json"),
    WrongContentType(),
    ErrorStatus(500, "before"),
    ErrorStatus(502, "before"),
    ErrorStatus(503, "late", 9),
    ErrorStatus(504, "late", 9),
]
BEFORE_IT_TOOK_EFFECT = [
    ErrorStatus(500),
    ErrorStatus(503, retry_after="1"),
]
MAY_STILL_TAKE_EFFECT = [
    ConnectionReset("never"),
    ConnectionReset("never", error=httpx.WriteError),
    ConnectionReset("late", 500, error=httpx.RemoteProtocolError),
    NoAnswer("never"),
    NoAnswer("late", 500),
    ErrorStatus(502),
    ErrorStatus(504),
    ErrorStatus(408),
]


def affected_id(result: dict[str, Any]) -> int:
    """Return the id of what was created or deleted, according to the answer."""
    made = result.get("snapshot") or result.get("virtual_machine") or result.get("image")
    return made["id"] if made else result["snapshot_id"]


@under(AFTER_IT_TOOK_EFFECT)
@pytest.mark.sampled(3)
async def test_a_write_that_took_effect_without_an_answer_is_reported_with_its_id(
    world: FaultyWorld, client: Client, tool: str, fault: Fault
) -> None:
    arguments = await commit_arguments(client, tool)
    world.plan.writes = [fault]
    result = await call_tool(client, tool, **arguments)
    assert result["outcome"] == HAPPENED[tool]
    assert [change.number for change in world.changes] == [affected_id(result)]
    assert len(world.log.writes) == 1
    assert world.events == ["sent", "done"]
    assert await world.verify_ledger() == []


@under(BEFORE_IT_TOOK_EFFECT)
async def test_a_write_that_broke_before_it_took_effect_has_failed_and_can_be_repeated(
    world: FaultyWorld, client: Client, tool: str, fault: Fault
) -> None:
    arguments = await commit_arguments(client, tool)
    world.plan.writes = [fault]
    result = await call_tool(client, tool, **arguments)
    assert result["outcome"] == "failed"
    assert "it was not done" in result["next_step"]
    assert "Nothing was changed" in result["next_step"]
    await world.log.deliver_delayed()
    assert world.changes == []
    assert len(world.log.writes) == 1
    assert world.events == ["sent", "failed"]
    assert [entry.reason for entry in world.entries if entry.event == "failed"] != [""]
    again = await commit_arguments(client, tool)
    assert (await call_tool(client, tool, **again))["outcome"] == HAPPENED[tool]
    assert len(world.changes) == 1


@under(MAY_STILL_TAKE_EFFECT)
@pytest.mark.sampled(3)
async def test_a_write_that_may_still_take_effect_is_unknown_and_says_how_to_check(
    world: FaultyWorld, client: Client, tool: str, fault: Fault
) -> None:
    arguments = await commit_arguments(client, tool)
    world.plan.writes = [fault]
    result = await call_tool(client, tool, **arguments)
    assert result["outcome"] == "unknown"
    assert LOOKUP_HINTS[tool] in result["next_step"]
    assert "do not repeat it" in result["next_step"]
    assert world.changes == []
    assert len(world.log.writes) == 1
    assert world.events == ["sent", "unknown"]


@under(
    [
        ConnectionReset("never"),
        NoAnswer("never"),
        ErrorStatus(500),
        ErrorStatus(429),
        WrongBody(status=200),
    ]
)
@pytest.mark.parametrize("when", ["never", "before"])
@pytest.mark.sampled(3)
async def test_the_outcome_is_unknown_if_the_cloud_cannot_be_read(
    world: FaultyWorld, client: Client, tool: str, fault: Fault, when: When
) -> None:
    arguments = await commit_arguments(client, tool)
    world.plan.writes = [ConnectionReset(when)]
    world.plan.lookups = [fault] * 100
    result = await call_tool(client, tool, **arguments)
    assert result["outcome"] == "unknown"
    assert LOOKUP_HINTS[tool] in result["next_step"]
    assert world.events == ["sent", "unknown"]
    assert len(world.log.writes) == 1
    assert len(world.changes) == (1 if when == "before" else 0)


@pytest.mark.parametrize("tool", TOOLS)
async def test_an_effect_is_found_even_if_the_first_lookups_fail(
    world: FaultyWorld, client: Client, tool: str
) -> None:
    arguments = await commit_arguments(client, tool)
    world.plan.writes = [ConnectionReset("before")]
    world.plan.lookups = [WrongBody(status=200), ConnectionReset("never"), ErrorStatus(500)]
    result = await call_tool(client, tool, **arguments)
    assert result["outcome"] == HAPPENED[tool]
    assert world.events == ["sent", "done"]


async def test_a_snapshot_with_a_longer_name_is_not_mistaken_for_the_effect(
    world: FaultyWorld, client: Client
) -> None:
    first = await creation_arguments(client, "before-upgrade-x-2")
    await call_tool(client, "create_snapshot", **first, wait_seconds=60)
    world.clock.advance(minutes=1)
    world.plan.writes = [ErrorStatus(500)]
    result = await call_tool(
        client, "create_snapshot", **await creation_arguments(client, "before-upgrade-x")
    )
    assert result["outcome"] == "failed"
    assert [change.name for change in world.changes] == ["before-upgrade-x-2"]


@under([ClockJump(-30), ClockJump(-1), ClockJump(1), ClockJump(30)])
@pytest.mark.sampled(3)
async def test_a_change_of_the_time_of_day_does_not_affect_the_outcome(
    world: FaultyWorld, client: Client, tool: str, fault: Fault
) -> None:
    arguments = await commit_arguments(client, tool)
    world.plan.writes = [ConnectionReset("late", 5)]
    world.plan.lookups = [fault, fault, ClockJump(7), fault]
    result = await call_tool(client, tool, **arguments)
    assert result["outcome"] == HAPPENED[tool]
    assert world.events == ["sent", "done"]
    assert await world.verify_ledger() == []


async def test_a_creation_that_a_proxy_sends_twice_is_done_once_and_reported_as_done(
    world: FaultyWorld, client: Client
) -> None:
    arguments = await commit_arguments(client, "create_snapshot")
    world.plan.writes = [SentTwice()]
    result = await call_tool(client, "create_snapshot", **arguments)
    assert [delivery.accepted for delivery in world.log.writes[0].deliveries] == [True, False]
    assert result["outcome"] == "created"
    assert [change.number for change in world.changes] == [affected_id(result)]
    assert world.events == ["sent", "done"]


async def test_a_deletion_that_a_proxy_sends_twice_is_not_claimed_while_it_is_in_progress(
    world: FaultyWorld, client: Client
) -> None:
    arguments = await commit_arguments(client, "delete_snapshot")
    world.plan.writes = [SentTwice()]
    result = await call_tool(client, "delete_snapshot", **arguments)
    assert [delivery.accepted for delivery in world.log.writes[0].deliveries] == [True, False]
    assert result["outcome"] == "pending"
    assert "an earlier deletion of this snapshot is still in progress" in result["next_step"]
    assert [change.number for change in world.changes] == [affected_id(result)]
    assert world.events == ["sent", "unknown"]


@pytest.mark.parametrize("tool", ["restore_snapshot", "create_image_from_snapshot"])
async def test_a_restore_or_image_that_a_proxy_sends_twice_is_unknown(
    world: FaultyWorld, client: Client, tool: str
) -> None:
    # A VM or image with that name may hold another snapshot.
    arguments = await commit_arguments(client, tool)
    world.plan.writes = [SentTwice()]
    result = await call_tool(client, tool, **arguments)
    assert result["outcome"] == "unknown"
    assert "may have sent it twice" in result["next_step"]
    assert len(world.changes) == 1
    assert world.events == ["sent", "unknown"]


@pytest.mark.parametrize("tool", TOOLS)
async def test_a_repeated_write_is_unknown_if_the_cloud_cannot_be_read(
    world: FaultyWorld, client: Client, tool: str
) -> None:
    arguments = await commit_arguments(client, tool)
    world.plan.writes = [SentTwice()]
    world.plan.lookups = [WrongBody(status=200)] * 100
    result = await call_tool(client, tool, **arguments)
    assert result["outcome"] == "unknown"
    assert len(world.changes) == 1
    assert world.events == ["sent", "unknown"]


async def test_a_404_page_of_a_gateway_does_not_show_that_a_snapshot_is_gone(
    world: FaultyWorld, client: Client
) -> None:
    arguments = await commit_arguments(client, "delete_snapshot")
    world.plan.writes = [ConnectionReset("never")]
    world.plan.lookups = [WrongBody(status=404)] * 100
    result = await call_tool(client, "delete_snapshot", **arguments)
    assert result["outcome"] == "unknown"
    assert world.changes == []
