"""Handlers of regions, flavors, stocks and prices."""

from snapshot_mcp.sandbox import catalogue, lifecycle, serializers
from snapshot_mcp.sandbox.errors import bad_request_error
from snapshot_mcp.sandbox.handlers.context import (
    HandlerContext,
    HandlerResult,
    require_snapshot,
    require_vm,
)
from snapshot_mcp.sandbox.request import ApiRequest


def list_regions(context: HandlerContext, _request: ApiRequest) -> HandlerResult:
    """List the regions."""
    regions = context.session.catalogue_items("region")
    return HandlerResult(
        {"status": True, "message": "Getting regions successful", "regions": regions}
    )


def list_flavors(_context: HandlerContext, request: ApiRequest) -> HandlerResult:
    """List the flavors, grouped by region and GPU."""
    groups = catalogue.flavor_groups(request.text("region"))
    return HandlerResult({"status": True, "message": "Getting flavors successful", "data": groups})


def my_permissions(_context: HandlerContext, _request: ApiRequest) -> HandlerResult:
    """List the permissions of the API key's user."""
    return HandlerResult(
        {
            "status": True,
            "message": "Getting permissions successful",
            "permissions": catalogue.permissions(),
        }
    )


def resource_price(context: HandlerContext, request: ApiRequest) -> HandlerResult:
    """Calculate the price per hour of a VM or a snapshot in US dollars."""
    match str(request.path_params["kind"]):
        case "virtual-machine" | "vm":
            vm = require_vm(context, request.resource_id())
            status = lifecycle.vm_state(vm.times, context.now).status
            flavor = vm.config.flavor
            amounts = {
                "vCPU": flavor["cpu"],
                "RAM": flavor["ram"],
                flavor["gpu"]: flavor["gpu_count"],
            }
            name, kind = vm.name, "virtual-machine"
        case "snapshot":
            snapshot = require_snapshot(context, request)
            status = snapshot.status(context.now)
            amounts, name, kind = {"Cloud-SSD": snapshot.size_gb}, snapshot.name, "snapshot"
        case _:
            raise bad_request_error("The resource type must be virtual-machine or snapshot.")
    prices = {price["name"]: price["value"] for price in context.session.catalogue_items("price")}
    parts = [
        serializers.priced_part(part, amount, float(prices[part]))
        for part, amount in amounts.items()
        if amount
    ]
    resource = serializers.priced_resource(request.resource_id(), name, kind, status, parts)
    return HandlerResult(
        {
            "status": True,
            "message": "Resource price calculated successfully",
            "calculated_resource_bills": {
                "org_id": catalogue.ORGANISATION_ID,
                "resource": resource,
            },
        }
    )


def pricebook(context: HandlerContext, _request: ApiRequest) -> HandlerResult:
    """List hourly prices as a bare array, with values as text.

    Source: the vendor's recorded replies.
    """
    return HandlerResult(context.session.catalogue_items("price"))


def gpu_stocks(_context: HandlerContext, _request: ApiRequest) -> HandlerResult:
    """List how many GPUs of each model are available, by region.

    The body has neither `status` nor `message`. Source: the vendor's OpenAPI document.
    """
    return HandlerResult({"stocks": catalogue.stocks()})
