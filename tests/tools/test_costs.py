"""Costs before consent: credit, stock, contract and price of a restore, VMs of an image, spend."""

import json
from collections.abc import Awaitable, Callable
from typing import Any

import httpx
import pytest
from mcp import Client

from tests.conftest import ERAS, World, call_tool, call_tool_with_text
from tests.tools.helpers import FakePerson, client_with_person, ready_snapshot

pytestmark = pytest.mark.one_era

BILLING_PATHS = ("/pricebook", "/core/stocks", "/billing/")
Tampering = Callable[[httpx.Request, httpx.Response], Awaitable[httpx.Response]]


async def plan_restore(client: Client, **others: object) -> tuple[dict[str, Any], str]:
    page = await call_tool(client, "list_snapshots", search="training-box", state="ready")
    arguments = {"snapshot_id": page["snapshots"][0]["id"], "new_vm_name": "back-again"}
    result, text = await call_tool_with_text(client, "restore_snapshot", **arguments, **others)
    assert result["outcome"] == "confirmation_required"
    return result["plan"], text


def replace_answer(path: str, body: object, status: int = 200) -> Tampering:
    """Return a change of the cloud's answers: for this path, another body."""

    async def change(request: httpx.Request, response: httpx.Response) -> httpx.Response:
        if request.url.path.removeprefix("/v1").startswith(path):
            await response.aclose()
            return httpx.Response(status, json=body)
        return response

    return change


def credit_of(amount: object, *, can_create: object = True) -> Tampering:
    data = {"credit": amount, "threshold": 0, "can_create_instance": can_create}
    return replace_answer("/billing/user-credit", {"status": True, "data": data})


async def test_a_restore_plan_shows_the_costs_in_text_and_structured_content(
    client: Client,
) -> None:
    plan, text = await plan_restore(client, contract_id=77)
    assert (plan["currency"], plan["credit"], plan["free_gpus"]) == ("USD", 250.0, 12)
    assert plan["contract"].startswith('77 "A100 reservation", until ')
    assert plan["contract"].endswith(", 20 % off A100-80G-PCIe")
    price = plan["price_per_hour_estimate"]
    assert f"about {price} USD per hour (an estimate), contract 77" in text
    assert "credit 250.00 USD, 12 of these GPUs free in the region" in text


async def test_a_restore_without_a_contract_is_billed_on_demand(client: Client) -> None:
    plan, text = await plan_restore(client)
    assert plan["contract"] == "none, billed on demand"
    assert "contract none, billed on demand" in text


async def test_a_contract_that_does_not_exist_is_a_warning(client: Client) -> None:
    plan, text = await plan_restore(client, contract_id=99)
    warning = "The account has no contract 99: the cloud would bill the VM on demand."
    assert warning in plan["warnings"]
    assert warning in text


@pytest.mark.parametrize("mode", ERAS)
async def test_the_person_is_asked_with_price_currency_and_contract(
    world: World, mode: str
) -> None:
    person = FakePerson()
    async with client_with_person(world, mode, person) as client:
        page = await call_tool(client, "list_snapshots", search="training-box", state="ready")
        arguments = {
            "snapshot_id": page["snapshots"][0]["id"],
            "new_vm_name": "back-again",
            "contract_id": 77,
        }
        plan = await call_tool(client, "restore_snapshot", **arguments)
        commit = {"plan_token": plan["plan_token"], "confirm": plan["confirm_with"]}
        person.will_type(plan["confirm_with"])
        world.tamper(credit_of(12.5))  # a credit that changes all the time asks no second time
        restored = await call_tool(client, "restore_snapshot", **arguments, **commit)
    assert restored["outcome"] in ("restored", "pending")
    (question,) = person.questions
    assert "USD per hour" in question
    assert 'contract 77 "A100 reservation"' in question
    assert "credit 12.50 USD" in question


@pytest.mark.parametrize(
    ("amount", "can_create", "warning"),
    [
        (3.1, True, "pays for about 2 hours"),
        (0, True, "pays for about 0 hours"),
        ("-2.50", None, "The credit (-2.50 USD)"),
        (250, False, "does not allow new VMs: the cloud refuses the restore"),
    ],
)
async def test_a_credit_that_is_too_low_is_a_warning(
    world: World, client: Client, amount: object, can_create: object, warning: str
) -> None:
    world.tamper(credit_of(amount, can_create=can_create))
    plan, _ = await plan_restore(client)
    assert any(warning in line for line in plan["warnings"])


async def test_too_few_free_gpus_are_a_warning(world: World, client: Client) -> None:
    stock = [{"region": "NORWAY-1", "models": [{"model": "A100-80G-PCIe", "available": "0"}]}]
    world.tamper(replace_answer("/core/stocks", {"stocks": stock}))
    plan, _ = await plan_restore(client)
    assert plan["free_gpus"] == 0
    assert any("needs 1 GPU, and 0 of that model are free" in line for line in plan["warnings"])


@pytest.mark.parametrize("status", [403, 404, 500])
async def test_costs_that_the_key_may_not_read_are_unknown(
    world: World, client: Client, status: int
) -> None:
    async def refuse(request: httpx.Request) -> httpx.Response | None:
        path = request.url.path.removeprefix("/v1")
        return httpx.Response(status, json={}) if path.startswith(BILLING_PATHS) else None

    world.fail(refuse)
    plan, text = await plan_restore(client, contract_id=77)
    assert {"credit", "free_gpus", "price_per_hour_estimate"} & plan.keys() == set()
    assert "price not known" in text
    assert ("no contract 77" in text) is (status == 404)
    review = await call_tool(client, "review_snapshots")
    assert "month_spend" not in review


@pytest.mark.parametrize(
    "body", [[], {}, {"data": None}, {"stocks": [None, {"models": 3}]}, {"contracts": "none"}, "x"]
)
async def test_answers_of_another_shape_are_unknown(
    world: World, client: Client, body: object
) -> None:
    async def answer(request: httpx.Request) -> httpx.Response | None:
        path = request.url.path.removeprefix("/v1")
        return httpx.Response(200, json=body) if path.startswith(BILLING_PATHS) else None

    world.fail(answer)
    plan, _ = await plan_restore(client, contract_id=77)
    assert plan["contract"] == "77, details not known"
    assert {"credit", "free_gpus", "price_per_hour_estimate"} & plan.keys() == set()
    assert "month_spend" not in await call_tool(client, "review_snapshots")


async def test_a_review_shows_the_amount_billed_beside_the_estimate(client: Client) -> None:
    review, text = await call_tool_with_text(client, "review_snapshots")
    assert review["currency"] == "USD"
    assert 0 < review["month_spend"] <= review["month_cost_estimate"] * 1.1
    assert f"Billed for snapshots in the last 30 days: {review['month_spend']:.2f} USD." in text
    assert "USD a month (an estimate)" in text


@pytest.mark.parametrize("bill", [None, "much", -1])
async def test_a_bill_that_cannot_be_read_makes_the_total_unknown(
    world: World, client: Client, bill: object
) -> None:
    async def change(request: httpx.Request, response: httpx.Response) -> httpx.Response:
        if not request.url.path.endswith("/history/snapshot"):
            return response
        body = json.loads(await response.aread())
        body["billing_history_snapshot"]["billing_history"][3]["metrics"]["incurred_bill"] = bill
        return httpx.Response(200, json=body)

    world.tamper(change)
    assert "month_spend" not in await call_tool(client, "review_snapshots")


async def test_a_deletion_shows_the_vms_that_use_the_image(world: World, client: Client) -> None:
    snapshot = await ready_snapshot(client)
    image = "create_image_from_snapshot"
    await call_tool(client, image, snapshot_id=snapshot["id"], name="base")
    plan = (await call_tool(client, "delete_snapshot", snapshot_id=snapshot["id"]))["plan"]
    assert plan["image_vms"] == []
    assert any("is deleted too; no VM uses it." in line for line in plan["warnings"])

    vms = [{"id": 5, "name": "web"}, {"id": 6}, 7, None]
    world.tamper(replace_answer("/core/images/", {"image": {"id": 1, "related_vms": vms}}))
    plan = (await call_tool(client, "delete_snapshot", snapshot_id=snapshot["id"]))["plan"]
    assert plan["image_vms"] == ["web", "6", "7", "?"]
    assert any('VMs that use it: "web", "6", "7", "?"' in line for line in plan["warnings"])

    world.tamper(replace_answer("/core/images/", {}, 403))
    plan = (await call_tool(client, "delete_snapshot", snapshot_id=snapshot["id"]))["plan"]
    assert "image_vms" not in plan
    assert any("the VMs that use it are not known" in line for line in plan["warnings"])
