"""Several plans for the snapshots of one VM, committed in any order, with changes by others."""

import itertools
import tempfile
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, Literal, NamedTuple

import anyio
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mcp import Client

from tests.conftest import ERAS, World, call_tool
from tests.scale import scale
from tests.tools.helpers import (
    FakePerson,
    change_cloud,
    client_with_person,
    make_plan,
    read_cloud,
)

pytestmark = pytest.mark.one_era

VM = 793705
THREE = (1704, 1716, 1719)
"""The ready snapshots that the VM keeps in these tests, oldest first."""
LAST_COPY = "It is the last ready snapshot of its VM."


async def keep_three(world: World, client: Client) -> None:
    """Leave the VM three ready snapshots."""
    await call_tool(client, "list_snapshots", limit=1)
    change_cloud(world, "DELETE FROM images")
    change_cloud(world, "DELETE FROM snapshots WHERE vm_id = ? AND id NOT IN (?, ?, ?)", VM, *THREE)


@pytest.mark.parametrize("mode", ERAS)
@pytest.mark.parametrize("order", list(itertools.permutations(THREE)))
@pytest.mark.sampled(5)
async def test_the_plans_of_one_vm_work_in_any_order_until_the_last_copy(
    world: World, mode: str, order: Sequence[int]
) -> None:
    person = FakePerson()
    async with client_with_person(world, mode, person) as client:
        await keep_three(world, client)
        commits = {
            number: (await make_plan(client, "delete_snapshot", {"id": number}))[0]
            for number in THREE
        }
        for number in order[:2]:
            person.will_type(str(commits[number]["confirm"]))
            result = await call_tool(client, "delete_snapshot", **commits[number])
            assert result["outcome"] == "deleted"
        assert len(person.questions) == 2
        last = await call_tool(client, "delete_snapshot", **commits[order[2]])
    assert last["outcome"] == "confirmation_required"
    assert "it is now the last ready snapshot of its VM" in last["next_step"]
    assert LAST_COPY in last["plan"]["warnings"]
    assert len(person.questions) == 2
    assert len(world.writes) == 2


class Step(NamedTuple):
    """One step: a plan or a commit of one snapshot, or a change by someone else."""

    action: Literal["plan", "commit", "fail", "recover", "delete", "label", "image"]
    place: int


STEPS = st.lists(
    st.builds(
        Step,
        st.sampled_from(
            ("plan", "plan", *["commit"] * 3, "fail", "recover", "delete", "label", "image")
        ),
        st.integers(0, len(THREE) - 1),
    ),
    min_size=4,
    max_size=14,
)


CHANGES = {
    "fail": ["UPDATE snapshots SET outcome = 'ERROR' WHERE id = ?"],
    "recover": ["UPDATE snapshots SET outcome = 'SUCCESS' WHERE id = ?"],
    "delete": ["DELETE FROM images WHERE snapshot_id = ?", "DELETE FROM snapshots WHERE id = ?"],
    "label": ["UPDATE snapshots SET labels = '[\"NEW\"]' WHERE id = ?"],
    "image": [
        "INSERT OR IGNORE INTO images SELECT NULL, id, 'NEW', '[]', 0 FROM snapshots WHERE id = ?"
    ],
}


class Facts(NamedTuple):
    """The facts that a person is shown before a snapshot is deleted."""

    status: str
    labels: str
    image: str | None
    last_copy: bool


class Play:
    """One run of steps. The cloud's database says what is true."""

    def __init__(self, world: World, client: Client) -> None:
        self.world = world
        self.client = client
        self.commits: dict[int, dict[str, object]] = {}
        self.told: dict[int, Facts] = {}
        self.names = itertools.count()

    def facts(self, number: int) -> Facts | None:
        rows = read_cloud(
            self.world,
            "SELECT s.outcome, s.labels, i.name, NOT EXISTS (SELECT 1 FROM snapshots o WHERE"
            " o.vm_id = s.vm_id AND o.id <> s.id AND o.outcome = 'SUCCESS') FROM snapshots s"
            " LEFT JOIN images i ON i.snapshot_id = s.id WHERE s.id = ?",
            number,
        )
        for status, labels, image, alone in rows:
            return Facts(status, labels, image, status == "SUCCESS" and bool(alone))
        return None

    async def take(self, step: Step) -> None:
        number = THREE[step.place]
        match step.action:
            case "plan":
                if self.facts(number) is not None:
                    result = await call_tool(self.client, "delete_snapshot", snapshot_id=number)
                    self.note(number, result)
            case "commit":
                if number in self.commits:
                    await self.commit(number)
            case change:
                for statement in CHANGES[change]:
                    name = f"name-{next(self.names)}"
                    change_cloud(self.world, statement.replace("NEW", name), number)

    async def commit(self, number: int) -> None:
        """Commit the latest plan: it is executed exactly if what was told is still true."""
        before, commit = self.facts(number), self.commits.pop(number)
        result = await self.client.call_tool("delete_snapshot", commit)
        if before is None:
            assert result.is_error
            return
        content: Any = result.structured_content
        assert content["outcome"] == (
            "deleted" if before == self.told[number] else "confirmation_required"
        )
        if content["outcome"] == "deleted":
            assert self.facts(number) is None
        else:
            assert self.facts(number) == before
            assert "The target has changed since the plan was made: " in content["next_step"]
            self.note(number, content)

    def note(self, number: int, plan: dict[str, Any]) -> None:
        """Remember a plan, and check that it tells the truth."""
        facts = self.facts(number)
        assert facts is not None
        assert (LAST_COPY in plan["plan"]["warnings"]) is facts.last_copy
        assert ("derived_image" in plan["plan"]) is (facts.image is not None)
        self.told[number] = facts
        self.commits[number] = {
            "snapshot_id": number,
            "plan_token": plan["plan_token"],
            "confirm": plan["confirm_with"],
        }


async def play(steps: Sequence[Step], folder: Path) -> None:
    world = World(folder)
    async with world.client() as client:
        await keep_three(world, client)
        run = Play(world, client)
        for step in steps:
            await run.take(step)


@given(STEPS)
@settings(max_examples=scale(quick=10, deep=60, soak=400))
def test_a_plan_is_executed_exactly_while_what_the_person_was_told_is_true(
    steps: Sequence[Step],
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        anyio.run(partial(play, steps, Path(folder)))
