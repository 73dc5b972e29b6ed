"""Handlers of regions, environments, flavors, stocks and prices."""

from snapshot_mcp.sandbox import catalogue, serializers
from snapshot_mcp.sandbox.handlers.context import (
    HandlerContext,
    HandlerResult,
)
from snapshot_mcp.sandbox.request import ApiRequest, PageRequest


def list_regions(context: HandlerContext, _request: ApiRequest) -> HandlerResult:
    """List the regions."""
    regions = context.session.catalogue_items("region")
    return HandlerResult(
        {"status": True, "message": "Getting regions successful", "regions": regions}
    )


def list_environments(context: HandlerContext, _request: ApiRequest) -> HandlerResult:
    """List all environments."""
    environments = context.session.catalogue_items("environment")
    return HandlerResult(
        serializers.list_body(
            "environments",
            environments,
            "Getting environments successful",
            len(environments),
            PageRequest(),
        )
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
