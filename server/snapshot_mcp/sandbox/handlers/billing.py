"""Handlers of credit, contracts and billing history."""

from datetime import datetime, timedelta
from uuid import NAMESPACE_URL, uuid5

from snapshot_mcp.sandbox import catalogue, serializers
from snapshot_mcp.sandbox.entities import Json, Snapshot
from snapshot_mcp.sandbox.errors import not_found_error
from snapshot_mcp.sandbox.handlers.context import HandlerContext, HandlerResult, credit
from snapshot_mcp.sandbox.request import ApiRequest, PageRequest

_DEFAULT_PERIOD = timedelta(days=30)


def user_credit(context: HandlerContext, _request: ApiRequest) -> HandlerResult:
    """Read the account's credit in US dollars, and whether it is enough to create resources."""
    account = credit(context)
    data = {
        "credit": account["credit"],
        "threshold": account["threshold"],
        "can_create_instance": account["credit"] > account["threshold"],
    }
    return HandlerResult({"message": "Success", "status": True, "data": data})


def list_contracts(context: HandlerContext, request: ApiRequest) -> HandlerResult:
    """List the account's contracts."""
    contracts = catalogue.contracts(context.now.year)
    page = request.page("per_page")
    return HandlerResult(
        {
            "status": True,
            "message": "Getting contracts successful",
            "contracts": page.slice(contracts),
            "count": len(contracts),
        }
    )


def get_contract(context: HandlerContext, request: ApiRequest) -> HandlerResult:
    """Read one contract, under the key `contracts`. Source: the vendor's OpenAPI document."""
    contract_id = request.resource_id()
    for contract in catalogue.contracts(context.now.year):
        if contract["id"] == contract_id:
            return HandlerResult(
                {"status": True, "message": "Getting contract successful", "contracts": contract}
            )
    raise not_found_error(f"Contract {contract_id} does not exist.")


def contract_gpu_allocation_graph(context: HandlerContext, request: ApiRequest) -> HandlerResult:
    """Show how many GPUs of a contract were used in a period; in the embedded cloud, none."""
    contract: Json = get_contract(context, request).body["contracts"]
    start = request.time("start_date", context.now - _DEFAULT_PERIOD)
    end = request.time("end_date", context.now)
    graph = [{"datetime": serializers.format_time(time), "value": 0} for time in (start, end)]
    body = {
        "id": str(contract["id"]),
        "org_id": contract["org_id"],
        "status": contract["status"],
        "granularity": 86400,
        "total_gpu_allocation": contract["discounts"][0]["resource_count"],
        "allocated_gpu_count_graph": graph,
    }
    message = "Getting GPU allocation successful"
    return HandlerResult({"status": True, "message": message, "contract": body})


def snapshot_billing_history(context: HandlerContext, request: ApiRequest) -> HandlerResult:
    """List the cost of each snapshot in a period, by default of the last 30 days.

    `usage_time` is in seconds: the vendor's OpenAPI document says hours, but its examples have a
    bill of usage_time / 3600 times the price per hour.
    """
    start = request.time("start_date", context.now - _DEFAULT_PERIOD)
    end = min(request.time("end_date", context.now), context.now)
    _total, snapshots = context.session.list_snapshots(
        request.search(), PageRequest(), context.now, with_deleted=True
    )
    entries = [
        _cost(snapshot, start, end)
        for snapshot in snapshots
        if snapshot.started_at < end and (snapshot.deleted_at or end) > start
    ]
    page = request.page("per_page")
    history: Json = {
        "org_id": catalogue.ORGANISATION_ID,
        "billing_history": page.slice(entries),
        "total_count": len(entries),
        "pagination": {
            "page": page.number or 1,
            "pages": page.count(len(entries)),
            "per_page": page.size or len(entries),
        },
    }
    return HandlerResult(
        {
            "status": True,
            "message": "Billing History for Snapshot Retrieved Successfully.",
            "billing_history_snapshot": history,
        }
    )


def _cost(snapshot: Snapshot, start: datetime, end: datetime) -> Json:
    last = min(end, snapshot.deleted_at or end)
    seconds = max(0, int((last - max(start, snapshot.started_at)).total_seconds()))
    price = snapshot.size_gb * catalogue.SNAPSHOT_PRICE_PER_GB_HOUR
    return {
        "attributes": {
            "id": str(uuid5(NAMESPACE_URL, f"snapshot/{snapshot.id}")),
            "infrahub_id": snapshot.id,
            "resource_name": snapshot.name,
            "status": "DELETED" if snapshot.deleted_at else snapshot.status(end),
            "contract_id": None,
        },
        "metrics": {
            "incurred_bill": price * seconds / 3600,
            "price_per_hour": price,
            "usage_time": seconds,
        },
    }
