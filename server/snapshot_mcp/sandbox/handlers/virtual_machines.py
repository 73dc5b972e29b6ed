"""Handlers of VMs."""

from snapshot_mcp.sandbox import events, serializers
from snapshot_mcp.sandbox.handlers.context import (
    HandlerContext,
    HandlerResult,
    check_not_busy,
    name_availability_result,
    require_vm,
)
from snapshot_mcp.sandbox.request import ApiRequest


def list_vms(context: HandlerContext, request: ApiRequest) -> HandlerResult:
    """List VMs, oldest first."""
    page = request.page()
    total, vms = context.session.list_vms(
        request.search(), request.query.get("environment") or None, page
    )
    items = [serializers.instance(vm, context.now) for vm in vms]
    return HandlerResult(
        serializers.list_body("instances", items, "Getting VMs successful", total, page)
    )


def get_vm(context: HandlerContext, request: ApiRequest) -> HandlerResult:
    """Read one VM."""
    body = serializers.instance(require_vm(context, request.resource_id()), context.now)
    return HandlerResult(
        {"status": True, "message": "Getting VM detail successful", "instance": body}
    )


def delete_vm(context: HandlerContext, request: ApiRequest) -> HandlerResult:
    """Delete a VM but not its snapshots. Source: the vendor's OpenAPI document."""
    vm = require_vm(context, request.resource_id())
    check_not_busy(vm, context.now)
    context.session.delete_vm(vm.id)
    events.record_vm_deletion(context.session, vm, context.now)
    return HandlerResult({"status": True, "message": "Instance is being deleted."})


def vm_events(context: HandlerContext, request: ApiRequest) -> HandlerResult:
    """List the events of a VM, newest first."""
    vm = require_vm(context, request.resource_id())
    past_events = context.session.list_events("virtual_machine", vm.id, context.now)
    items = [serializers.event_body("virtual_machine", vm.id, event) for event in past_events]
    message = "Getting virtual machine events successful"
    return HandlerResult({"status": True, "message": message, "instance_events": items})


def vm_name_availability(context: HandlerContext, request: ApiRequest) -> HandlerResult:
    """Return whether a VM name is free."""
    return name_availability_result(context, request, "virtual_machine")
