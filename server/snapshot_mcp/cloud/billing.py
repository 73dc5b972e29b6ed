"""The API calls about costs: prices, credit, stock, contracts and billing history. All are reads.

A key may lack the permission for any of them, so callers treat every failure as "unknown".
"""

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from functools import partial
from typing import cast

from snapshot_mcp.cloud.api import ApiClient
from snapshot_mcp.cloud.field_readers import (
    AlteredFields,
    as_mapping,
    read_boolean,
    read_integer,
    read_number,
    read_text,
    read_time,
)
from snapshot_mcp.cloud.parsing import get_list, get_object, require_object
from snapshot_mcp.core.errors import ProtocolError
from snapshot_mcp.core.sanitize import MAX_NAME_LENGTH
from snapshot_mcp.models.costs import Contract, Credit, Discount

MAX_ENTRIES = 1_000
BILLING_PAGE_SIZE = 100
MAX_BILLING_PAGES = 20

_HISTORY_KEYS = ("billing_history_snapshot", "billing_history_volume")


class BillingReader:
    """All calls about costs. They raise the errors of `ApiClient.read`."""

    def __init__(self, api: ApiClient) -> None:
        self._api = api

    async def get_prices(self) -> Mapping[str, float]:
        """Return prices per hour by resource name ("vCPU", "RAM", "A100-80G-PCIe").

        Source: a bare array of {id, name, value}, the value as text, in the recorded replies.
        """
        return await self._api.read("/pricebook", "the price list", _parse_prices)

    async def get_credit(self) -> Credit:
        """Return the credit of the account.

        Source: `data` {credit, threshold, can_create_instance} in the vendor's OpenAPI document.
        """
        return await self._api.read("/billing/user-credit/credit", "the credit", _parse_credit)

    async def get_gpu_stock(self) -> Mapping[tuple[str, str], int]:
        """Return the number of free GPUs by region and model.

        Source: `stocks[]` {region, models[] {model, available as text}} in the vendor's OpenAPI
        document.
        """
        return await self._api.read("/core/stocks", "the stock", _parse_stock)

    async def get_contract(self, contract_id: int) -> Contract:
        """Return one contract.

        Source: a single one is also under the key `contracts` in the vendor's OpenAPI document; its
        SDKs have `contract`.

        Raises:
            NotFoundError: the account has no such contract.
        """
        return await self._api.read(
            f"/pricebook/contracts/{contract_id}",
            f"contract {contract_id}",
            partial(_parse_contract, contract_id),
        )

    async def get_contracts(self) -> list[Contract]:
        """Return the first contracts of the account."""
        return await self._api.read(
            "/pricebook/contracts",
            "the contracts",
            _parse_contracts,
            {"page": 1, "per_page": BILLING_PAGE_SIZE},
        )

    async def get_snapshot_spend(self, since: datetime, until: datetime) -> float | None:
        """Return the amount billed for all snapshots in a period; None if a part is not known.

        Source: `billing_history` [] with `metrics.incurred_bill` in the vendor's OpenAPI document.
        """
        spend, count = 0.0, 0
        for page in range(1, MAX_BILLING_PAGES + 1):
            bills, total = await self._api.read(
                "/billing/billing/history/snapshot",
                "the billing history of snapshots",
                _parse_bills,
                {
                    "start_date": _format_time(since),
                    "end_date": _format_time(until),
                    "page": page,
                    "per_page": BILLING_PAGE_SIZE,
                },
            )
            known = [bill for bill in bills if bill is not None]
            if len(known) < len(bills):
                return None
            spend += sum(known)
            count += len(bills)
            if total is not None and count >= total:
                return spend if count == total else None
            if not bills or (total is None and len(bills) < BILLING_PAGE_SIZE):
                return spend if total is None else None
        return None


def _parse_prices(body: object) -> Mapping[str, float]:
    if not isinstance(body, list):
        raise ProtocolError("The cloud's price list is not a list.")
    prices: dict[str, float] = {}
    for entry in _objects(cast("list[object]", body)):
        name, price = entry.get("name"), read_number(entry.get("value"))
        if isinstance(name, str) and price is not None and price >= 0:
            prices[name] = price
    return prices


def _parse_credit(body: object) -> Credit:
    data = as_mapping(require_object(body).get("data")) or {}
    amount = read_number(data.get("credit"))
    if amount is None:
        raise ProtocolError("The cloud's answer has no credit.")
    return Credit(amount, read_boolean(data.get("can_create_instance")))


def _parse_stock(body: object) -> Mapping[tuple[str, str], int]:
    stock: dict[tuple[str, str], int] = {}
    for region in _objects(get_list(require_object(body), "stocks")):
        models, region_name = region.get("models"), region.get("region")
        if not isinstance(models, list) or not isinstance(region_name, str):
            continue
        for entry in _objects(cast("list[object]", models)):
            model, count = entry.get("model"), read_integer(entry.get("available"))
            if isinstance(model, str) and count is not None and count >= 0:
                stock[region_name, model] = count
    return stock


def _parse_contract(contract_id: int, body: object) -> Contract:
    contract = _contract(require_object(get_object(require_object(body), "contracts", "contract")))
    if contract is None or contract.id != contract_id:
        raise ProtocolError(f"The cloud's answer is not about contract {contract_id}.")
    return contract


def _parse_contracts(body: object) -> list[Contract]:
    entries = map(_contract, _objects(get_list(require_object(body), "contracts")))
    return [contract for contract in entries if contract is not None]


def _contract(raw: Mapping[str, object]) -> Contract | None:
    number = read_integer(raw.get("id"))
    if number is None:
        return None
    discounts = raw.get("discounts")
    entries = cast("list[object]", discounts) if isinstance(discounts, list) else []
    return Contract(
        number,
        _text(raw.get("description")),
        _text(raw.get("status")),
        read_time(raw.get("end_date")),
        tuple(
            Discount(
                _text(entry.get("resource_name")),
                read_number(entry.get("discount_percent")),
                read_integer(entry.get("remaining_count")),
            )
            for entry in _objects(entries)
        ),
    )


def _parse_bills(body: object) -> tuple[list[float | None], int | None]:
    history = require_object(get_object(require_object(body), *_HISTORY_KEYS))
    entries = get_list(history, "billing_history")
    bills: list[float | None] = []
    for entry in entries[:MAX_ENTRIES]:
        metrics = as_mapping((as_mapping(entry) or {}).get("metrics")) or {}
        bill = read_number(metrics.get("incurred_bill"))
        bills.append(bill if bill is not None and bill >= 0 else None)
    return bills, read_integer(history.get("total_count"))


def _objects(entries: list[object]) -> Iterator[Mapping[str, object]]:
    yield from filter(None, map(as_mapping, entries[:MAX_ENTRIES]))


def _text(value: object) -> str:
    return read_text(MAX_NAME_LENGTH, value, "", AlteredFields()) or ""


def _format_time(time: datetime) -> str:
    return f"{time.astimezone(UTC):%Y-%m-%dT%H:%M:%S}"
