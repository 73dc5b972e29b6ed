"""Credit, contracts, stocks and the cost of snapshots."""

from snapshot_mcp.sandbox import store
from tests.sandbox.conftest import GOLDEN, NEWEST, NOTEBOOK, Cloud

HISTORY = "/billing/billing/history/snapshot"


async def test_credit(cloud: Cloud) -> None:
    assert await cloud.get("/billing/user-credit/credit") == {
        "message": "Success",
        "status": True,
        "data": {"credit": 250.0, "threshold": 0, "can_create_instance": True},
    }


async def test_stocks_have_neither_status_nor_message(cloud: Cloud) -> None:
    body = await cloud.get("/core/stocks")
    assert list(body) == ["stocks"]
    norway = body["stocks"][0]
    assert (norway["region"], norway["stock-type"]) == ("NORWAY-1", "GPU")
    model = norway["models"][0]
    assert (model["model"], model["available"]) == ("A100-80G-PCIe", "12")
    assert model["configurations"] == {"1x": 12, "2x": 6, "4x": 3, "8x": 1, "10x": 1}


async def test_contracts(cloud: Cloud) -> None:
    body = await cloud.get("/pricebook/contracts")
    (contract,) = body["contracts"]
    assert (body["count"], contract["id"], contract["status"]) == (1, 77, "active")
    assert contract["start_date"] < f"{cloud.time:%Y-%m-%dT%H:%M:%SZ}" < contract["end_date"]
    assert (await cloud.get("/pricebook/contracts/77"))["contracts"] == contract
    second_page = await cloud.get("/pricebook/contracts", query={"page": "2", "per_page": "1"})
    assert (second_page["count"], second_page["contracts"]) == (1, [])
    assert (await cloud.get("/pricebook/contracts/78", 404))["error_reason"] == "not_found"


async def test_the_gpu_allocation_of_a_contract(cloud: Cloud) -> None:
    path = "/pricebook/contracts/77/gpu_allocation_graph"
    contract = (await cloud.get(path))["contract"]
    assert (contract["id"], contract["status"]) == ("77", "active")
    assert [entry["value"] for entry in contract["allocated_gpu_count_graph"]] == [0, 0]
    await cloud.get(path.replace("77", "78"), 404)


async def test_billing_history_has_the_cost_of_each_snapshot(cloud: Cloud) -> None:
    body = await cloud.get(HISTORY)
    history = body["billing_history_snapshot"]
    assert history["total_count"] == len(history["billing_history"]) == 30
    golden = next(
        entry
        for entry in history["billing_history"]
        if entry["attributes"]["infrahub_id"] == GOLDEN
    )
    size = (await cloud.snapshot(GOLDEN))["size"]
    price = size * 0.0003870968 / 4
    assert golden["attributes"]["resource_name"] == "training-box-golden"
    assert golden["metrics"]["price_per_hour"] == price
    assert golden["metrics"]["usage_time"] == 30 * 24 * 3600
    assert abs(golden["metrics"]["incurred_bill"] - price * 30 * 24) < 1e-9


async def test_billing_history_of_a_period(cloud: Cloud) -> None:
    query = {"start_date": "2026-11-01T00:00:00", "end_date": "2026-11-02", "search": "golden"}
    history = (await cloud.get(HISTORY, query=query))["billing_history_snapshot"]
    (entry,) = history["billing_history"]
    assert entry["metrics"]["usage_time"] == 24 * 3600
    assert history["pagination"] == {"page": 1, "pages": 1, "per_page": 1}


async def test_billing_history_has_pages(cloud: Cloud) -> None:
    query = {"page": "4", "per_page": "9"}
    history = (await cloud.get(HISTORY, query=query))["billing_history_snapshot"]
    assert (len(history["billing_history"]), history["total_count"]) == (3, 30)
    assert history["pagination"] == {"page": 4, "pages": 4, "per_page": 9}


async def test_billing_history_rejects_a_date_that_is_none(cloud: Cloud) -> None:
    assert "start_date" in (await cloud.get(HISTORY, 400, {"start_date": "May"}))["message"]


async def test_without_credit_nothing_is_created(cloud: Cloud) -> None:
    await cloud.get("/core/regions")
    with store.transaction(cloud.database, write=True, initialize=lambda _: None) as session:
        session.set_catalogue_item("credit", {"id": 1, "credit": 0.0, "threshold": 0})
    credit = await cloud.get("/billing/user-credit/credit")
    assert credit["data"] == {"credit": 0.0, "threshold": 0, "can_create_instance": False}
    refusal = {
        "status": False,
        "message": "Insufficient balance to create the resource",
        "error_reason": "bad_request",
    }
    assert await cloud.create(NOTEBOOK, "unpaid", 400) == refusal
    assert await cloud.restore(NEWEST, "unpaid", 400) == refusal
    assert await cloud.post(f"/core/snapshots/{NEWEST}/image", {"name": "unpaid"}, 400) == refusal
    await cloud.delete(NEWEST)


async def test_the_billing_history_ends_with_the_deletion(cloud: Cloud) -> None:
    await cloud.delete(NEWEST)
    cloud.advance(24 * 3600)
    history = (await cloud.get(HISTORY, query={"search": str(NEWEST)}))["billing_history_snapshot"]
    (entry,) = history["billing_history"]
    assert entry["attributes"]["status"] == "DELETED"
    assert 0 < entry["metrics"]["usage_time"] < 2 * 24 * 3600
    later = {"start_date": "2026-11-21T00:00:00", "search": str(NEWEST)}
    history = (await cloud.get(HISTORY, query=later))["billing_history_snapshot"]
    assert history["billing_history"] == []
