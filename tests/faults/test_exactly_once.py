"""Nothing is lost, done twice, or reported without having happened, under any faults.

Hypothesis chooses the calls, the faults of their requests, and when a caller cancels. The cloud's
own database, the ledger and the answers must agree afterwards (`consistency.py`), and no deletion
may break the operator's policy (`promises.py`). In most examples the cloud misbehaves as well.
`make test-soak` takes at least 10,000 steps.
"""

from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from anyio.from_thread import start_blocking_portal
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    initialize,
    rule,
    run_state_machine_as_test,
)
from mcp import Client

from tests.conftest import ERAS
from tests.faults.change_log import ENDS, RequestedWrite, query_rows
from tests.faults.consistency import HAPPENED, ToolCall, attempt_histories
from tests.faults.faults import OthersAction
from tests.faults.others import PROTECTED_LABEL
from tests.faults.promises import PROMISES, Promises
from tests.faults.steps import AT_THE_WRITE, NEVER, FaultMachine, PlannedCommit
from tests.faults.strategies import CALL_FAULTS, OTHERS_ACTIONS, CallFaults
from tests.faults.world import seed
from tests.scale import scale

pytestmark = [pytest.mark.one_era, pytest.mark.no_cover]

SHARDS = scale(quick=1, deep=2, soak=4)
MAX_EXAMPLES = scale(quick=2, deep=50, soak=130)
STEPS_PER_EXAMPLE = scale(quick=25, deep=50)
MIN_STEPS = scale(quick=25, deep=800, soak=2_500)

MISBEHAVIOURS = (
    "",
    "stale-lists=5",
    "stale-reads=5",
    "short-lists",
    "dropped-labels",
    "small-pages=7,moving-pages=0.1",
    "stale-lists=3,short-lists,dropped-labels",
)
MAX_LATE_SECONDS = 6
KILL_SECONDS = [0.5, 3, 12, 60]
COMMITS = ("delete_snapshot", "restore_snapshot")
_NUMBERS = st.integers(0, 1_000)
_CLIENTS = st.integers(0, 2)
_CANCEL_AT = st.sampled_from([NEVER] * 12 + [AT_THE_WRITE] * 4 + list(range(1, 9)))
_WAIT_SECONDS = st.sampled_from([0, 30])


class ExactlyOnce(FaultMachine):
    """The rules of the state machine: which calls are made, and under which faults."""

    @initialize(
        eras=st.tuples(*[st.sampled_from(ERAS)] * 3),
        misbehaviour=st.sampled_from(MISBEHAVIOURS),
        promises=st.sampled_from([None, *PROMISES]),
    )
    def connect(
        self, eras: tuple[str, str, str], misbehaviour: str, promises: Promises | None
    ) -> None:
        self.world.misbehave(misbehaviour)
        # The server looks for an effect for twelve seconds, and the reads are behind.
        if self.stale_seconds:
            self.world.log.max_late_seconds = MAX_LATE_SECONDS - self.stale_seconds
        if promises:
            self.promises = promises
            self.world.set_policy(promises.policy)
        server = self.enter(self.stack, self.world.server())
        self.clients = [self.enter(self.stack, Client(server, mode=mode)) for mode in eras[:2]]
        self.clients.append(self.enter(self.second, self.world.client(eras[2])))
        self.servers = [0, 0, 1]

    @rule(mode=st.sampled_from(ERAS))
    def restart_the_second_server(self, mode: str) -> None:
        self.second.close()
        self.servers[2] += 1
        self.clients[2] = self.enter(self.second, self.world.client(mode))

    def teardown(self) -> None:
        try:
            self.portal.call(self.world.log.deliver_delayed)
            self.check()
            self.settle_killed_writes()
            assert self.portal.call(self.world.verify_ledger) == []
            self.count()
        finally:
            self.second.close()
            self.stack.close()

    def settle_killed_writes(self) -> None:
        """Check that a later server records how every write of a killed server ended."""
        if not self.world.killed_attempts:
            return
        self.world.clock.advance(hours=2)
        self.restart_the_second_server(ERAS[0])
        self.call_tool(2, "list_virtual_machines", {"limit": 1}, CallFaults())
        self.world.clock.advance(hours=2)
        self.call_tool(2, "list_virtual_machines", {"limit": 1}, CallFaults())
        ended = {entry.attempt for entry in self.world.entries if entry.event in ENDS}
        open_attempts = self.world.killed_attempts - ended
        assert not open_attempts, f"still open: {open_attempts}"

    @rule(number=_NUMBERS, action=st.sampled_from(OTHERS_ACTIONS))
    def let_others_change_something(self, number: int, action: OthersAction) -> None:
        write = RequestedWrite("", self.any_snapshot(number), f"by-others-{number}")
        self.world.let_others(action, write)

    @rule(number=_NUMBERS, seconds=st.sampled_from(KILL_SECONDS), mode=st.sampled_from(ERAS))
    def kill_a_server_during_a_write(self, number: int, seconds: float, mode: str) -> None:
        commit = PlannedCommit("create_snapshot", self.creation_arguments(number, 0))
        if self.commits and number % 3:
            commit = self.commits[number % len(self.commits)]
        self.kill_during(mode, commit, seconds)

    @rule(client_index=_CLIENTS, number=_NUMBERS, faults=CALL_FAULTS)
    def read(self, client_index: int, number: int, faults: CallFaults) -> None:
        match number % 3:
            case 0:
                before = set(self.ids)
                self.call_tool(client_index, "list_snapshots", {"limit": 100}, faults)
                self.check_list(self.calls[-1], before)
            case 1:
                snapshot = self.any_snapshot(number)
                self.call_tool(client_index, "inspect_snapshot", {"snapshot_id": snapshot}, faults)
            case _:
                self.call_tool(client_index, "list_virtual_machines", {"limit": 100}, faults)

    @rule(
        client_index=_CLIENTS,
        number=_NUMBERS,
        wait=_WAIT_SECONDS,
        cancel_at=_CANCEL_AT,
        faults=CALL_FAULTS,
    )
    def create(
        self, client_index: int, number: int, wait: int, cancel_at: int, faults: CallFaults
    ) -> None:
        self.call_tool(
            client_index,
            "create_snapshot",
            self.creation_arguments(number, wait),
            faults,
            cancel_at,
        )

    @rule(client_index=_CLIENTS, number=_NUMBERS, tool=st.sampled_from(COMMITS), faults=CALL_FAULTS)
    def plan(self, client_index: int, number: int, tool: str, faults: CallFaults) -> None:
        self.make_plan(client_index, number, tool, faults)

    @rule(client_index=_CLIENTS, number=_NUMBERS, cancel_at=_CANCEL_AT, faults=CALL_FAULTS)
    def commit_any_plan(
        self, client_index: int, number: int, cancel_at: int, faults: CallFaults
    ) -> None:
        if self.commits:
            commit = self.commits[number % len(self.commits)]
            self.call_tool(client_index, commit.tool, commit.arguments, faults, cancel_at)

    @rule(
        client_index=_CLIENTS,
        number=_NUMBERS,
        tool=st.sampled_from(COMMITS),
        cancel_at=_CANCEL_AT,
        faults=CALL_FAULTS,
    )
    def plan_and_commit(
        self, client_index: int, number: int, tool: str, cancel_at: int, faults: CallFaults
    ) -> None:
        before = len(self.commits)
        self.make_plan(client_index, number, tool, CallFaults())
        for commit in self.commits[before:]:
            self.call_tool(client_index, commit.tool, commit.arguments, faults, cancel_at)

    @rule(client_index=_CLIENTS, number=_NUMBERS, faults=CALL_FAULTS)
    def delete_copies_of_one_vm(self, client_index: int, number: int, faults: CallFaults) -> None:
        """Delete more of the copies of a VM than the policy allows, faster than stale reads."""
        tool, pause = "delete_snapshot", 0.5
        for snapshot_id in self.copies_of_some_vm(number)[:4]:
            arguments: dict[str, Any] = {"snapshot_id": snapshot_id}
            plan = self.call_tool(client_index, tool, arguments, CallFaults(), pause_seconds=pause)
            before = len(self.commits)
            self.store_commit(tool, arguments, plan.content)
            for commit in self.commits[before:]:
                used = faults if number % 3 == 0 else CallFaults()
                self.call_tool(client_index, tool, commit.arguments, used, pause_seconds=pause)

    @rule(number=_NUMBERS, other=_NUMBERS, faults=CALL_FAULTS)
    def commit_on_two_servers_concurrently(
        self, number: int, other: int, faults: CallFaults
    ) -> None:
        """Commit two plans, which are often the same or for the same snapshot."""
        if self.commits and len(self.world.owners) > 1:
            commits = [self.commits[index % len(self.commits)] for index in (number, other)]
            calls = [(0, commits[0]), (2, commits[number % 2])]
            self.call_concurrently(calls, faults)

    @rule(number=_NUMBERS, other=_NUMBERS, faults=CALL_FAULTS)
    def create_from_two_clients_concurrently(
        self, number: int, other: int, faults: CallFaults
    ) -> None:
        calls = [
            (client_index, PlannedCommit("create_snapshot", self.creation_arguments(value, 0)))
            for client_index, value in ((0, number), (1 + other % 2, other))
        ]
        self.call_concurrently(calls, faults)

    @rule(seconds=st.sampled_from([1, 10, 10, 70, 700]))
    def wait(self, seconds: int) -> None:
        self.pass_time(seconds)

    @rule(hours=st.sampled_from([-26, -1, 1, 26]))
    def set_the_clock(self, hours: int) -> None:
        self.world.clock.jump(hours)

    def creation_arguments(self, number: int, wait: int) -> dict[str, Any]:
        repeatable = [call.arguments["name"] for call in self.calls if self.is_repeatable(call)]
        name = repeatable[-1] if repeatable and number % 4 == 0 else f"made-{next(self.numbers)}"
        vm = self.vms[number % len(self.vms)]
        labels = [PROTECTED_LABEL] if number % 5 == 0 else []
        return {
            "vm_id": vm,
            "name": name,
            "labels": labels,
            "allow_interruption": True,
            "wait_seconds": wait,
        }

    def is_repeatable(self, call: ToolCall) -> bool:
        return call.tool == "create_snapshot" and call.outcome in ("failed", "error")

    def any_snapshot(self, number: int) -> int:
        ids = self.ids
        return ids[number % len(ids)] if number % 7 else 1701 + number % 40

    def copies_of_some_vm(self, number: int) -> list[int]:
        """Return the copies of a VM that has few of them, newest first."""
        query = """SELECT vm_id, group_concat(id) FROM (SELECT vm_id, id FROM snapshots
            ORDER BY vm_id, began DESC, id DESC) GROUP BY vm_id HAVING count(*) < 5"""
        vms = query_rows(self.cloud, query)
        return [int(text) for text in vms[number % len(vms)][1].split(",")] if vms else []

    def make_plan(self, client_index: int, number: int, tool: str, faults: CallFaults) -> None:
        arguments: dict[str, Any] = {"snapshot_id": self.any_snapshot(number)}
        if tool == "restore_snapshot":
            arguments |= {"new_vm_name": f"back-{next(self.numbers)}", "wait_seconds": number % 31}
        content = self.call_tool(client_index, tool, arguments, faults).content
        self.store_commit(tool, arguments, content)

    def store_commit(self, tool: str, arguments: dict[str, Any], content: dict[str, Any]) -> None:
        if token := content.get("plan_token"):
            words = {"plan_token": token, "confirm": content["confirm_with"]}
            self.commits.append(PlannedCommit(tool, arguments | words))

    def check_list(self, call: ToolCall, before: set[int]) -> None:
        """Check a list; snapshots that appeared or vanished after it was read may be missing."""
        if call.outcome != "read":
            return
        shown = {row["id"]: row.get("state", "ready") for row in call.content["snapshots"]}
        if not self.stale_seconds:
            deleting = {number for number, state in shown.items() if state == "deleting"}
            after = set(self.ids)
            complete = shown.keys() - deleting <= before | after and before & after <= shown.keys()
            assert complete, f"{self.ids} are listed as {shown}"
        entries = self.world.entries
        deleted = {
            entry.write.target
            for entry in entries
            if entry.event == "done" and entry.write.tool == "delete_snapshot"
        }
        untrue = {number: shown[number] for number in deleted & shown.keys()}
        assert set(untrue.values()) <= {"deleting"}, f"deleted, and shown as {untrue}"

    def count(self) -> None:
        world = self.world
        self.counts.update(call.outcome for call in self.calls)
        cases = attempt_histories(world.entries, world.log.exchanges, world.changes)
        for case in cases.values():
            self.counts[f"ledger: {case.end}"] += 1
            unanswered = not any(exchange.answered for exchange in case.exchanges)
            self.counts["reconciled"] += case.end == "done" and unanswered
            self.counts["repeated by a proxy"] += case.sent_twice


@pytest.mark.parametrize("shard", range(SHARDS))
def test_cloud_ledger_and_answers_agree_under_any_faults(tmp_path: Path, shard: int) -> None:
    del shard  # each one tries other examples, perhaps on another processor
    counts = Counter[str]()
    with start_blocking_portal("asyncio") as portal:

        class Machine(ExactlyOnce):
            pass

        Machine.portal, Machine.counts = portal, counts
        Machine.template = portal.call(seed, tmp_path)
        run_state_machine_as_test(
            Machine,
            settings=settings(
                max_examples=MAX_EXAMPLES,
                stateful_step_count=STEPS_PER_EXAMPLE,
                deadline=None,
                database=None,
                suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
            ),
        )
    assert counts["steps"] >= MIN_STEPS, counts
    if SHARDS == 1:
        return  # too few steps for every outcome
    wanted = (*HAPPENED, "killed", "unknown")
    assert min(counts[outcome] for outcome in wanted) > 0, counts
