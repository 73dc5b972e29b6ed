"""The database of the previous version: it opens, keeps its data, and can be changed."""

import gzip
import sqlite3
from contextlib import closing
from pathlib import Path

from snapshot_mcp.sandbox import schema
from tests.sandbox.conftest import GOLDEN, NEWEST, NOTEBOOK, Cloud

OLD = Path(__file__).parents[1] / "fixtures" / "previous_version" / "cloud.db.gz"


async def open_old_cloud(folder: Path) -> tuple[Cloud, list[tuple[int, str]]]:
    database = folder / "cloud.db"
    database.write_bytes(gzip.decompress(OLD.read_bytes()))
    with closing(sqlite3.connect(database)) as connection:
        assert connection.execute("PRAGMA user_version").fetchone() == (1,)
        rows = connection.execute("SELECT id, name FROM snapshots ORDER BY began DESC, id DESC")
        return Cloud(database), rows.fetchall()


async def test_the_database_of_the_previous_version_is_upgraded(tmp_path: Path) -> None:
    cloud, expected = await open_old_cloud(tmp_path)
    async with cloud.http:
        listed = (await cloud.get("/core/snapshots"))["snapshots"]
        assert [(snapshot["id"], snapshot["name"]) for snapshot in listed] == expected
        golden = await cloud.snapshot(GOLDEN)
        assert golden["vm_environment"]["created_at"].endswith("Z")
        assert golden["vm_image"]["created_at"] == "2024-09-02T08:00:00Z"
        assert golden["custom_image"]["type"] == "Snapshot"
        images = (await cloud.get("/core/images"))["images"]
        assert all(image["created_at"] for group in images for image in group["images"])
        assert (await cloud.get("/billing/user-credit/credit"))["data"]["credit"] == 250.0
    with closing(sqlite3.connect(cloud.database)) as connection:
        version = connection.execute("PRAGMA user_version").fetchone()
    assert version == (schema.SCHEMA_VERSION,)


async def test_an_upgraded_database_can_be_changed(tmp_path: Path) -> None:
    cloud, expected = await open_old_cloud(tmp_path)
    async with cloud.http:
        newest = expected[0][0]
        cloud.advance(3600)
        await cloud.delete(NEWEST if NEWEST in dict(expected) else newest)
        await cloud.request("GET", f"/core/virtual-machines/{NOTEBOOK}/start")
        cloud.advance(5)
        assert (await cloud.vm(NOTEBOOK))["status"] == "ACTIVE"
        assert (await cloud.get("/core/snapshots"))["count"] == len(expected) - 1
        await cloud.create(NOTEBOOK, "after the upgrade")


def test_an_upgraded_database_has_the_columns_of_a_new_one(tmp_path: Path) -> None:
    def columns(connection: sqlite3.Connection) -> dict[str, list[str]]:
        tables = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
        return {
            name: [row[1] for row in connection.execute(f"PRAGMA table_info({name})")]
            for (name,) in tables.fetchall()
        }

    path = tmp_path / "old.db"
    path.write_bytes(gzip.decompress(OLD.read_bytes()))
    with closing(sqlite3.connect(":memory:")) as new, closing(sqlite3.connect(path)) as old:
        schema.upgrade(old, 1, "2024-09-02T08:00:00Z")
        for statement in schema.TABLES:
            new.execute(statement)
        assert columns(old) == columns(new)
