"""Helpers of the tool tests: plans, people, policies, and changes made without the server."""

import sqlite3
from collections.abc import AsyncGenerator, Callable, Iterable
from contextlib import asynccontextmanager, closing
from typing import Any

from mcp import Client
from mcp_types import ElicitRequestFormParams, ElicitResult

from tests.conftest import World, call_tool

PLANNED_TOOLS = ("delete_snapshot", "restore_snapshot")
Reply = Callable[[ElicitRequestFormParams], ElicitResult]
POLICY: dict[str, object] = {"keep_daily": 3, "keep_weekly": 2, "keep_labels": ["keep"]}
LAST: dict[str, object] = {"keep_last": 1}
CROWDED_VM = 793701
_MICROSECONDS_PER_DAY = 86_400_000_000
COPY_OLDEST = """INSERT INTO snapshots (name, folded, description, labels, vm_id, vm_name, config,
    has_floating_ip, began, gigabytes, outcome)
    SELECT 'old-' || :place, 'old-' || :place, '', '[]', vm_id, vm_name, config, has_floating_ip,
    began - :day, gigabytes, outcome
    FROM snapshots WHERE vm_id = :vm AND outcome = 'SUCCESS' ORDER BY began LIMIT 1"""


async def ready_snapshot(client: Client, number: int = 0) -> dict[str, Any]:
    """Return one of the ready snapshots; 0 is the newest."""
    page = await call_tool(client, "list_snapshots", state="ready", limit=100)
    return page["snapshots"][number]


def plan_arguments(tool: str, snapshot: dict[str, Any]) -> dict[str, object]:
    """Return the arguments of a planned tool, except plan_token and confirm."""
    arguments: dict[str, object] = {"snapshot_id": snapshot["id"]}
    return arguments | ({"new_vm_name": "back-again"} if tool == "restore_snapshot" else {})


async def make_plan(
    client: Client, tool: str, snapshot: dict[str, Any]
) -> tuple[dict[str, object], dict[str, Any]]:
    """Make a plan; return the arguments that commit it, and the plan."""
    arguments = plan_arguments(tool, snapshot)
    plan = await call_tool(client, tool, **arguments)
    assert plan["outcome"] == "confirmation_required"
    return arguments | {"plan_token": plan["plan_token"], "confirm": plan["confirm_with"]}, plan


async def find_vm(client: Client, **wanted: object) -> dict[str, object]:
    """Return the first VM with these field values."""
    page = await call_tool(client, "list_virtual_machines", limit=100)
    return next(
        vm
        for vm in page["virtual_machines"]
        if all(vm.get(name) == value for name, value in wanted.items())
    )


async def creation_arguments(client: Client, name: str = "before-upgrade-x") -> dict[str, object]:
    """Return the arguments of a create_snapshot that is accepted."""
    vm = await find_vm(client, status="ACTIVE", can_snapshot=True)
    return {"vm_id": vm["id"], "name": name, "allow_interruption": True}


def set_policy(world: World, text: str) -> None:
    """Give the next server of this world a policy."""
    path = world.folder / "policy.toml"
    path.write_text(text, encoding="utf-8")
    world.settings = world.settings.model_copy(update={"policy": path})


class FakePerson:
    """A person behind a client: records the questions and gives the prepared answer."""

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
async def client_with_person(world: World, mode: str, person: FakePerson) -> AsyncGenerator[Client]:
    """Start a client that can ask this person."""
    async with world.client(mode, elicitation_callback=person.answer) as client:
        yield client


def change_cloud(world: World, statement: str, *parameters: object) -> None:
    """Change the cloud without the server."""
    with closing(sqlite3.connect(world.cloud_file, timeout=10)) as connection, connection:
        connection.execute(statement, parameters)


def read_cloud(world: World, query: str, *parameters: object) -> list[tuple[Any, ...]]:
    """Read the cloud's database without the server."""
    with closing(sqlite3.connect(world.cloud_file, timeout=10)) as connection:
        return connection.execute(query, parameters).fetchall()


def copy_parameters(place: int) -> dict[str, object]:
    """Return the parameters of COPY_OLDEST, which adds a snapshot a day older than the oldest."""
    return {"place": place, "day": _MICROSECONDS_PER_DAY, "vm": CROWDED_VM}


async def add_old_snapshots(world: World, client: Client, number: int) -> None:
    """Add snapshots to one VM, each a day older than the previous one."""
    await call_tool(client, "list_snapshots", limit=1)
    with closing(sqlite3.connect(world.cloud_file, timeout=10)) as connection, connection:
        for place in range(number):
            connection.execute(COPY_OLDEST, copy_parameters(place))


def deleted_ids(plan: dict[str, Any]) -> list[int]:
    return [decision["id"] for decision in plan["decisions"] if not decision["keep"]]


async def make_retention_plan(client: Client, **policy: object) -> dict[str, Any]:
    """Make a plan whose first page has every decision."""
    plan = await call_tool(client, "plan_retention", **policy, limit=100)
    assert plan["next_cursor"] == ""
    return plan


def ids_of(entries: Iterable[dict[str, Any]]) -> list[int]:
    return [row["id"] for row in entries]
