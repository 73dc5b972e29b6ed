"""Handlers of environments. The texts of changes are specific to the embedded cloud."""

from snapshot_mcp.sandbox import serializers
from snapshot_mcp.sandbox.entities import Json, VmQuery
from snapshot_mcp.sandbox.errors import bad_request_error, not_found_error
from snapshot_mcp.sandbox.handlers.context import (
    HandlerContext,
    HandlerResult,
    check_name_free,
    name_availability_result,
)
from snapshot_mcp.sandbox.request import ApiRequest, PageRequest

_MAX_VMS = 250


def list_environments(context: HandlerContext, request: ApiRequest) -> HandlerResult:
    """List the environments."""
    page, search = request.page(), request.search()
    environments = [
        environment
        for environment in context.session.catalogue_items("environment")
        if search in environment["name"].casefold()
    ]
    message, total = "Getting environments successful", len(environments)
    items = page.slice(environments)
    return HandlerResult(serializers.list_body("environments", items, message, total, page))


def get_environment(context: HandlerContext, request: ApiRequest) -> HandlerResult:
    """Read one environment."""
    body = _require_environment(context, request)
    message = "Getting environment successful"
    return HandlerResult({"status": True, "message": message, "environment": body})


def environment_name_availability(context: HandlerContext, request: ApiRequest) -> HandlerResult:
    """Return whether the name of an environment is free."""
    return name_availability_result(context, request, "environment")


def create_environment(context: HandlerContext, request: ApiRequest) -> HandlerResult:
    """Create an environment in a region."""
    fields = request.fields("name", "region")
    name, region_name = fields.name(), fields.text("region")
    regions = {region["name"]: region for region in context.session.catalogue_items("region")}
    if region_name not in regions:
        raise not_found_error(f"Region {region_name} does not exist")
    check_name_free(context, "environment", name)
    body: Json = {
        "id": 1 + max(item["id"] for item in context.session.catalogue_items("environment")),
        "name": name,
        "region": region_name,
        "created_at": serializers.format_time(context.now),
        "features": regions[region_name]["features"],
    }
    context.session.set_catalogue_item("environment", body)
    return HandlerResult({"status": True, "message": "Environment created", "environment": body})


def update_environment(context: HandlerContext, request: ApiRequest) -> HandlerResult:
    """Rename an environment."""
    name = request.fields("name").name()
    environment = _require_environment(context, request)
    if name != environment["name"]:
        check_name_free(context, "environment", name)
        context.session.rename_environment(environment["name"], name)
    body = environment | {"name": name}
    context.session.set_catalogue_item("environment", body)
    return HandlerResult({"status": True, "message": "Environment updated", "environment": body})


def delete_environment(context: HandlerContext, request: ApiRequest) -> HandlerResult:
    """Delete an environment without VMs."""
    environment = _require_environment(context, request)
    if _count_vms(context, environment):
        raise bad_request_error(f"Environment {environment['id']} has VMs and cannot be deleted.")
    context.session.delete_catalogue_item("environment", environment["id"])
    return HandlerResult({"status": True, "message": "Environment deleted"})


def environment_vm_quota(context: HandlerContext, request: ApiRequest) -> HandlerResult:
    """Read how many VMs an environment has and can have."""
    environment = _require_environment(context, request)
    current = _count_vms(context, environment)
    return HandlerResult(
        {
            "status": True,
            "message": "VM quota retrieved successfully",
            "cidr": f"10.{environment['id']}.0.0/24",
            "current_vms": current,
            "max_vms": _MAX_VMS,
            "available_vms": _MAX_VMS - current,
            "percentage_used": round(100 * current / _MAX_VMS, 2),
        }
    )


def _count_vms(context: HandlerContext, environment: Json) -> int:
    query = VmQuery(environment=environment["name"], exact=True)
    return context.session.list_vms(query, PageRequest(1, 1), context.now)[0]


def _require_environment(context: HandlerContext, request: ApiRequest) -> Json:
    environment_id = request.resource_id()
    for environment in context.session.catalogue_items("environment"):
        if environment["id"] == environment_id:
            return environment
    raise not_found_error(f"Environment {environment_id} does not exist")
