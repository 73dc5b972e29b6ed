"""The database: initialized exactly once, and consistent after any failure."""

import sqlite3
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from snapshot_mcp.core.errors import ConfigurationError
from snapshot_mcp.sandbox import schema, store
from snapshot_mcp.sandbox.entities import Snapshot, VmConfig
from snapshot_mcp.sandbox.request import ApiRequest, PageRequest
from snapshot_mcp.sandbox.seed import seed_database
from tests.sandbox.conftest import Cloud
from tests.waiting import ANSWER_TIMEOUT_SECONDS

NOW = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
CONFIG = VmConfig({"name": "e"}, {}, {}, {}, volume_gb=10, region_id=1)
SNAPSHOT = Snapshot(
    0, "", "", [], 1, "vm", CONFIG, has_floating_ip=False, started_at=NOW, size_gb=1
)
INSERT_TEN_THOUSAND = """
    WITH RECURSIVE numbers (n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM numbers WHERE n < 9999)
    INSERT INTO snapshots (name, folded, description, labels, vm_id, vm_name, config,
        has_floating_ip, began, gigabytes, outcome)
    SELECT 'Many ' || n, 'many ' || n, description, labels, vm_id, vm_name, config,
        has_floating_ip, began - n * 60000000, gigabytes, outcome
    FROM snapshots, numbers WHERE id = 1730
"""
# The cloud accepts no control characters and no unpaired surrogates in a name.
NAMES = st.text(st.characters(exclude_categories=["Cc", "Cs"]), min_size=1, max_size=8)


@given(
    st.lists(NAMES, unique=True, max_size=8),
    st.text(st.characters(exclude_categories=["Cs"]), max_size=3),
)
def test_search_finds_exactly_the_id_and_the_names_that_contain_the_text(
    names: list[str], search: str
) -> None:
    with closing(sqlite3.connect(":memory:")) as connection:
        connection.row_factory = sqlite3.Row
        for statement in schema.TABLES:
            connection.execute(statement)
        session = store.StoreSession(connection)
        ids = {session.add_snapshot(replace(SNAPSHOT, name=name)): name for name in names}
        total, snapshots = session.list_snapshots(
            ApiRequest({}, {"search": search}).search(), PageRequest(), NOW
        )
    expected = {
        name
        for snapshot_id, name in ids.items()
        if search.casefold() in name.casefold() or search == str(snapshot_id)
    }
    assert {snapshot.name for snapshot in snapshots} == expected
    assert total == len(expected)


def test_concurrent_threads_seed_a_new_database_once(tmp_path: Path) -> None:
    for attempt in range(5):
        database = tmp_path / str(attempt) / "cloud.db"
        barrier, calls = threading.Barrier(8), list[int]()

        def initialize(session: store.StoreSession, calls: list[int] = calls) -> None:
            calls.append(1)
            seed_database(session, NOW)

        def count(_: int, database: Path = database, barrier: threading.Barrier = barrier) -> int:
            barrier.wait(ANSWER_TIMEOUT_SECONDS)
            with store.transaction(database, write=False, initialize=initialize) as session:
                return session.list_snapshots("", PageRequest(1, 1), NOW)[0]

        with ThreadPoolExecutor(8) as pool:
            assert list(pool.map(count, range(8))) == [30] * 8
        assert calls == [1]


def test_a_database_that_was_seeded_concurrently_is_not_seeded_again(tmp_path: Path) -> None:
    database = tmp_path / "cloud.db"
    calls: list[str] = []

    def initialize_slowly(_: store.StoreSession) -> None:
        calls.append("first")
        second.start()
        # The second thread has opened the file and waits for the end of this transaction.
        assert second_has_opened.wait(ANSWER_TIMEOUT_SECONDS)

    def open_concurrently() -> None:
        with closing(store.connect(database)) as connection:
            assert connection.execute("PRAGMA user_version").fetchone()[0] == 0
        second_has_opened.set()
        with store.transaction(database, write=True, initialize=lambda _: calls.append("second")):
            pass

    second_has_opened = threading.Event()
    second = threading.Thread(target=open_concurrently, daemon=True)
    with store.transaction(database, write=False, initialize=initialize_slowly):
        pass
    second.join(ANSWER_TIMEOUT_SECONDS)
    assert calls == ["first"]


def test_a_failed_seeding_is_repeated(tmp_path: Path) -> None:
    database = tmp_path / "cloud.db"

    def fail(session: store.StoreSession) -> None:
        seed_database(session, NOW)
        raise KeyError

    with pytest.raises(KeyError), store.transaction(database, write=False, initialize=fail):
        raise AssertionError
    with store.transaction(
        database, write=False, initialize=lambda session: seed_database(session, NOW)
    ) as session:
        assert session.list_snapshots("", PageRequest(), NOW)[0] == 30


def test_a_transaction_that_fails_changes_nothing(tmp_path: Path) -> None:
    database = tmp_path / "cloud.db"

    def remove_and_fail() -> None:
        with store.transaction(
            database, write=True, initialize=lambda session: seed_database(session, NOW)
        ) as session:
            session.delete("snapshot", 1730, NOW)
            raise KeyError

    with pytest.raises(KeyError):
        remove_and_fail()
    with store.transaction(
        database, write=False, initialize=lambda session: seed_database(session, NOW)
    ) as session:
        assert session.find_snapshot(1730, NOW) is not None


async def test_a_database_of_a_later_version_is_rejected_and_not_changed(cloud: Cloud) -> None:
    await cloud.get("/core/regions")
    with closing(sqlite3.connect(cloud.database)) as connection:
        connection.execute("PRAGMA user_version = 99")
    body = await cloud.get("/core/regions", 500)
    assert body["error_reason"] == "server_error"
    transaction = store.transaction(cloud.database, write=False, initialize=lambda _: None)
    with pytest.raises(ConfigurationError, match="later version"):
        transaction.__enter__()
    with closing(sqlite3.connect(cloud.database)) as connection:
        assert connection.execute("PRAGMA user_version").fetchone() == (99,)


def test_a_database_in_use_is_opened_and_its_journal_mode_is_set_later(tmp_path: Path) -> None:
    database = tmp_path / "cloud.db"
    with closing(sqlite3.connect(database, isolation_level=None)) as other:
        other.execute("CREATE TABLE other (x)")
        other.execute("BEGIN")
        other.execute("SELECT * FROM other").fetchall()
        with closing(store.connect(database)) as connection:
            assert connection.execute("PRAGMA journal_mode").fetchone()[0] == "delete"
    with closing(store.connect(database)) as connection:
        assert connection.execute("PRAGMA journal_mode").fetchone()[0] == "wal"


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no POSIX modes")
async def test_the_folder_of_the_database_is_private(cloud: Cloud) -> None:
    await cloud.get("/core/regions")
    assert cloud.database.parent.stat().st_mode & 0o777 == 0o700


async def test_pages_of_ten_thousand_snapshots_are_fast(cloud: Cloud) -> None:
    await cloud.get("/core/regions")
    with closing(store.connect(cloud.database)) as connection:
        connection.execute(INSERT_TEN_THOUSAND)
    start = time.process_time()  # of the processor, as a busy machine takes longer
    for query in (
        {"page": "1", "pageSize": "100"},
        {"page": "100", "pageSize": "100"},
        {"page": "1", "search": "INSERT_TEN_THOUSAND 9999"},
    ):
        await cloud.get("/core/snapshots", query=query)
    assert time.process_time() - start < 1.5


def test_the_newest_page_is_read_from_the_index(tmp_path: Path) -> None:
    database = tmp_path / "cloud.db"
    with store.transaction(
        database, write=False, initialize=lambda session: seed_database(session, NOW)
    ):
        pass
    statements: list[str] = []
    with closing(store.connect(database)) as connection:
        connection.set_trace_callback(statements.append)
        store.StoreSession(connection).list_snapshots("", PageRequest(1, 5), NOW)
        connection.set_trace_callback(None)
        (page,) = (statement for statement in statements if "LIMIT" in statement)
        plan = [row["detail"] for row in connection.execute(f"EXPLAIN QUERY PLAN {page}")]
    assert "SCAN snapshots USING INDEX snapshots_newest" in plan
    assert not any("TEMP B-TREE" in step for step in plan)


async def test_no_file_is_left_open(cloud: Cloud) -> None:
    await cloud.get("/core/snapshots")
    await cloud.delete(1730)
    assert sorted(path.name for path in cloud.database.parent.iterdir()) == ["cloud.db"]
