"""Data of the previous version opens, verifies and recovers unchanged."""

import gzip
import json
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest
from pydantic import SecretStr

from snapshot_mcp.core.errors import RefusedError
from snapshot_mcp.ledger.backend import open_ledger_backend
from snapshot_mcp.ledger.base import Ledger
from snapshot_mcp.ledger.chain import attempt_from_row
from snapshot_mcp.settings.environment import CLOUD_FILE, LEDGER_FILE
from tests.conftest import World, call_tool

FIXTURES = Path(__file__).parents[2] / "fixtures" / "previous_version"
FINISHED = "sent done refused sent failed refused planned sent done"
"""The events of the finished calls; the rows of the unsettled attempts follow."""
ROWS = 14
UNSETTLED = ("create_snapshot", "delete_snapshot", "restore_snapshot")
OUTCOMES = ("done", "done", "failed")
LAST_HASH = {
    "file": "12763740615eb67ac852ff5376345bfd8782891f3aeebd8919c33c203f6b65d2",
    "postgres": "d829b73008e3eef296272a9f5107a3c66a4e68adfece09ce2abfc4db48fa4dab",
}


def decompress(name: str) -> bytes:
    return gzip.decompress((FIXTURES / f"{name}.gz").read_bytes())


@pytest.fixture(params=["file", pytest.param("postgres", marks=pytest.mark.postgres)])
def old_world(world: World, request: pytest.FixtureRequest) -> World:
    """A world whose cloud and ledger were written by the previous version."""
    (world.folder / CLOUD_FILE).write_bytes(decompress(CLOUD_FILE))
    if request.param == "file":
        (world.folder / LEDGER_FILE).write_bytes(decompress(LEDGER_FILE))
    else:
        url = request.getfixturevalue("postgres").create_database("previous_version")
        with psycopg.connect(url) as connection:
            connection.execute(decompress("ledger.sql"))
        world.settings = world.settings.model_copy(update={"database_url": SecretStr(url)})
    world.manual_clock.advance(minutes=30)
    return world


@contextmanager
def open_ledger(world: World) -> Generator[Ledger]:
    url = world.settings.database_url
    with open_ledger_backend(world.folder, url, world.manual_clock.now) as backend:
        yield backend.ledger


async def test_data_of_the_previous_version_opens_verifies_and_recovers(
    old_world: World, request: pytest.FixtureRequest
) -> None:
    with open_ledger(old_world) as ledger:
        assert await ledger.verify() == []
        rows = await ledger.rows()
        assert len(rows) == ROWS
        assert " ".join(row.event for row in rows).startswith(FINISHED)
        assert rows[-1].hash == LAST_HASH[request.node.callspec.params["old_world"]]
        assert json.loads(rows[0].arguments)["description"] == "größe"
        assert [row.reason for row in rows if row.event == "failed"] == ["Conflict"]
        assert tuple(row.tool for row in await ledger.unsettled()) == UNSETTLED
        for sent in await ledger.rows(event="sent"):
            with pytest.raises(RefusedError, match="already used"):
                await ledger.record("sent", attempt_from_row(sent))

        async with old_world.client() as client:
            name = "made-before-the-crash"
            listed = await call_tool(client, "list_snapshots", search=name)
        assert [snapshot["name"] for snapshot in listed["snapshots"]] == [name]
        recovered = (await ledger.rows())[ROWS:]
        assert tuple(row.tool for row in recovered) == UNSETTLED
        assert tuple(row.event for row in recovered) == OUTCOMES
        assert old_world.writes == []
        assert await ledger.unsettled() == []
        report = await ledger.inspect()
        assert report.problems == []
        assert report.notes[0].startswith(f"Rows 1 to {ROWS} have no MAC")
        assert (await ledger.rows())[:ROWS] == rows
        assert all(row.mac for row in recovered)
