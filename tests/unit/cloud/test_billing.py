"""Billing history in pages, and contracts of any shape."""

from datetime import UTC, datetime
from typing import Any

import httpx
import pytest

from snapshot_mcp.cloud.billing import BILLING_PAGE_SIZE, MAX_BILLING_PAGES, BillingReader
from snapshot_mcp.core.errors import ProtocolError
from tests.conftest import open_api_client

SINCE, UNTIL = datetime(2026, 10, 29, tzinfo=UTC), datetime(2026, 11, 28, tzinfo=UTC)


class PagedHistory(httpx.AsyncBaseTransport):
    """A billing history of entries that cost 0.5 each, and requests that were made."""

    def __init__(self, entries: int, total: int | None) -> None:
        self.entries, self.total = entries, total
        self.requests: list[httpx.Request] = []

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        start = (int(request.url.params["page"]) - 1) * BILLING_PAGE_SIZE
        count = max(0, min(BILLING_PAGE_SIZE, self.entries - start))
        history = [{"metrics": {"incurred_bill": 0.5}}] * count
        body = {"billing_history": history, "total_count": self.total}
        return httpx.Response(200, json={"status": True, "billing_history_volume": body})


@pytest.mark.parametrize(
    ("entries", "total", "spend", "requests"),
    [
        (0, 0, 0.0, 1),
        (7, 7, 3.5, 1),
        (250, 250, 125.0, 3),
        (250, None, 125.0, 3),
        (200, None, 100.0, 3),
        (7, 5, None, 1),  # more entries than the total
        (150, 250, None, 3),  # fewer entries than the total
        (10_000, 10_000, None, MAX_BILLING_PAGES),
    ],
)
async def test_the_spend_is_known_only_if_all_pages_agree_with_the_total(
    entries: int, total: int | None, spend: float | None, requests: int
) -> None:
    history = PagedHistory(entries, total)
    async with open_api_client(history) as api:
        assert await BillingReader(api).get_snapshot_spend(SINCE, UNTIL) == spend
    assert len(history.requests) == requests
    assert history.requests[0].url.params["start_date"] == "2026-10-29T00:00:00"


def answer(body: object) -> httpx.MockTransport:
    return httpx.MockTransport(lambda _: httpx.Response(200, json=body))


CONTRACT: dict[str, Any] = {
    "id": "77",
    "description": "A100",
    "status": "active",
    "end_date": "2027-01-01T00:00:00Z",
    "discounts": [{"resource_name": "A100", "discount_percent": "20"}, None, 3],
}


async def test_contracts_without_an_id_are_left_out() -> None:
    body = {"contracts": [CONTRACT, {"id": None}, None, "x", {"id": 78, "discounts": None}]}
    async with open_api_client(answer(body)) as api:
        first, second = await BillingReader(api).get_contracts()
    assert (first.id, first.description, first.discounts[0].percent) == (77, "A100", 20.0)
    assert (second.id, second.description, second.ends_at, second.discounts) == (78, "", None, ())


@pytest.mark.parametrize("key", ["contracts", "contract"])
async def test_one_contract_is_read_under_either_key(key: str) -> None:
    async with open_api_client(answer({key: CONTRACT})) as api:
        assert (await BillingReader(api).get_contract(77)).id == 77


@pytest.mark.parametrize("body", [{"contracts": {"id": 5}}, {"contracts": {}}, {}])
async def test_an_answer_about_another_contract_is_rejected(body: object) -> None:
    async with open_api_client(answer(body)) as api:
        with pytest.raises(ProtocolError):
            await BillingReader(api).get_contract(77)


async def test_regions_and_models_that_cannot_be_read_have_no_stock() -> None:
    models = [{"model": "A100", "available": "12"}, {"model": "H100", "available": -1}, None]
    stocks = [{"region": "NORWAY-1", "models": models}, {"region": 5, "models": models}, "x"]
    async with open_api_client(answer({"stocks": stocks})) as api:
        assert await BillingReader(api).get_gpu_stock() == {("NORWAY-1", "A100"): 12}
