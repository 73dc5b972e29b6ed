"""Nothing lost, nothing done twice, nothing reported that did not happen, whatever breaks.

Hypothesis chooses who calls what, what the network does to each request, and when a caller leaves.
Three parties must agree: the cloud's own database, the ledger, and what was told (`judge.py`).
`make test-soak` takes at least 5,000 steps.
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
from tests.faults.consistency import HAPPENED, ToolCall, attempt_histories
from tests.faults.steps import AT_THE_WRITE, NEVER, FaultMachine, PlannedCommit
from tests.faults.strategies import CALL_FAULTS, CallFaults
from tests.faults.world import seed
from tests.scale import scale

pytestmark = [pytest.mark.one_era, pytest.mark.no_cover]

EXAMPLES = scale(quick=5, deep=60, soak=180)
STEPS = 50
MIN_STEPS = scale(quick=140, deep=1_600, soak=5_000)

COMMITS = ("delete_snapshot", "restore_snapshot")
_NUMBERS = st.integers(0, 1_000)
_WHO = st.integers(0, 2)
_LEAVING = st.sampled_from([NEVER] * 12 + [AT_THE_WRITE] * 4 + list(range(1, 9)))
_WAITING = st.sampled_from([0, 30])


class ExactlyOnce(FaultMachine):
    """The rules: who calls what, when, and under which faults."""

    @initialize(eras=st.tuples(*[st.sampled_from(ERAS)] * 3))
    def connect(self, eras: tuple[str, str, str]) -> None:
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
            self.portal.call(self.world.log.deliver_late)
            self.check()
            assert self.portal.call(self.world.verify_ledger) == []
            self.count()
        finally:
            self.second.close()
            self.stack.close()

    @rule(who=_WHO, number=_NUMBERS, weather=CALL_FAULTS)
    def read(self, who: int, number: int, weather: CallFaults) -> None:
        match number % 3:
            case 0:
                self.do(who, "list_snapshots", {"limit": 100}, weather)
                self.check_list(self.told[-1])
            case 1:
                snapshot = self.any_snapshot(number)
                self.do(who, "inspect_snapshot", {"snapshot_id": snapshot}, weather)
            case _:
                self.do(who, "list_virtual_machines", {"limit": 100}, weather)

    @rule(who=_WHO, number=_NUMBERS, wait=_WAITING, leaving=_LEAVING, weather=CALL_FAULTS)
    def create(self, who: int, number: int, wait: int, leaving: int, weather: CallFaults) -> None:
        self.do(who, "create_snapshot", self.order(number, wait), weather, leaving)

    @rule(who=_WHO, number=_NUMBERS, tool=st.sampled_from(COMMITS), weather=CALL_FAULTS)
    def plan(self, who: int, number: int, tool: str, weather: CallFaults) -> None:
        self.offer(who, number, tool, weather)

    @rule(who=_WHO, number=_NUMBERS, leaving=_LEAVING, weather=CALL_FAULTS)
    def commit_a_plan_new_or_used(
        self, who: int, number: int, leaving: int, weather: CallFaults
    ) -> None:
        if self.offers:
            offer = self.offers[number % len(self.offers)]
            self.do(who, offer.tool, offer.arguments, weather, leaving)

    @rule(
        who=_WHO,
        number=_NUMBERS,
        tool=st.sampled_from(COMMITS),
        leaving=_LEAVING,
        weather=CALL_FAULTS,
    )
    def plan_and_commit(
        self, who: int, number: int, tool: str, leaving: int, weather: CallFaults
    ) -> None:
        before = len(self.offers)
        self.offer(who, number, tool, CallFaults())
        for offer in self.offers[before:]:
            self.do(who, offer.tool, offer.arguments, weather, leaving)

    @rule(number=_NUMBERS, other=_NUMBERS, weather=CALL_FAULTS)
    def commit_in_two_servers_at_once(self, number: int, other: int, weather: CallFaults) -> None:
        """Often the same plan, or two plans for the same snapshot."""
        if self.offers and len(self.world.owners) > 1:
            offers = [self.offers[it % len(self.offers)] for it in (number, other)]
            calls = [(0, offers[0]), (2, offers[number % 2])]
            self.do_at_once(calls, weather)

    @rule(number=_NUMBERS, other=_NUMBERS, weather=CALL_FAULTS)
    def create_from_two_clients_at_once(self, number: int, other: int, weather: CallFaults) -> None:
        calls = [
            (who, PlannedCommit("create_snapshot", self.order(it, 0)))
            for who, it in ((0, number), (1 + other % 2, other))
        ]
        self.do_at_once(calls, weather)

    @rule(seconds=st.sampled_from([1, 10, 10, 70, 700]))
    def wait(self, seconds: int) -> None:
        self.world.clock.turn(seconds=seconds)

    @rule(hours=st.sampled_from([-26, -1, 1, 26]))
    def set_the_clock(self, hours: int) -> None:
        self.world.clock.jump(hours)

    def order(self, number: int, wait: int) -> dict[str, Any]:
        again = [told.arguments["name"] for told in self.told if self.may_be_repeated(told)]
        name = again[-1] if again and number % 4 == 0 else f"made-{next(self.numbers)}"
        vm = self.vms[number % len(self.vms)]
        return {"vm_id": vm, "name": name, "allow_interruption": True, "wait_seconds": wait}

    def may_be_repeated(self, told: ToolCall) -> bool:
        return told.tool == "create_snapshot" and told.outcome in ("failed", "error")

    def any_snapshot(self, number: int) -> int:
        known = self.ids
        return known[number % len(known)] if number % 7 else 1701 + number % 40

    def offer(self, who: int, number: int, tool: str, weather: CallFaults) -> None:
        arguments: dict[str, Any] = {"snapshot_id": self.any_snapshot(number)}
        if tool == "restore_snapshot":
            arguments |= {"new_vm_name": f"back-{next(self.numbers)}", "wait_seconds": number % 31}
        content = self.do(who, tool, arguments, weather).content
        self.remember(tool, arguments, content)

    def remember(self, tool: str, arguments: dict[str, Any], content: dict[str, Any]) -> None:
        if token := content.get("plan_token"):
            words = {"plan_token": token, "confirm": content["confirm_with"]}
            self.offers.append(PlannedCommit(tool, arguments | words))

    def check_list(self, told: ToolCall) -> None:
        if told.outcome == "read":
            assert sorted(it["id"] for it in told.content["snapshots"]) == self.ids

    def count(self) -> None:
        world = self.world
        self.seen.update(told.outcome for told in self.told)
        cases = attempt_histories(world.entries, world.log.exchanges, world.changes)
        for case in cases.values():
            self.seen[f"ledger: {case.end}"] += 1
            unanswered = not any(exchange.answered for exchange in case.exchanges)
            self.seen["settled by looking"] += case.end == "done" and unanswered
            self.seen["repeated by a proxy"] += case.repeated_by_a_proxy


def test_cloud_ledger_and_what_was_told_agree_whatever_breaks(tmp_path: Path) -> None:
    counts = Counter[str]()
    with start_blocking_portal("asyncio") as portal:

        class Machine(ExactlyOnce):
            pass

        Machine.portal, Machine.seen = portal, counts
        Machine.template = portal.call(seed, tmp_path)
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
    assert counts["steps"] >= MIN_STEPS, counts
    wanted = (*HAPPENED, "failed", "unknown", "left", "settled by looking")
    assert min(counts[outcome] for outcome in wanted) > 0, counts
