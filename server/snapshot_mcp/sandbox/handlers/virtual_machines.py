"""Handlers of VMs."""

from snapshot_mcp.sandbox import events, serializers
from snapshot_mcp.sandbox.catalogue import CONTRACT_IDS
from snapshot_mcp.sandbox.entities import VmQuery
from snapshot_mcp.sandbox.errors import not_found_error
from snapshot_mcp.sandbox.handlers.context import (
    HandlerContext,
    HandlerResult,
    check_not_busy,
    name_availability_result,
    require_vm,
    start_deletion,
)
from snapshot_mcp.sandbox.request import ApiRequest


def list_vms(context: HandlerContext, request: ApiRequest) -> HandlerResult:
    """List VMs, oldest first."""
    page = request.page()
    query = VmQuery(
        search=request.search(),
        environment=request.text("environment"),
        exact=request.flag("exact_environment_match", default=False),
    )
    total, vms = context.session.list_vms(query, page, context.now)
    items = [serializers.instance(vm, context.now) for vm in vms]
    return HandlerResult(
        serializers.list_body("instances", items, "Getting VMs successful", total, page)
    )


def list_vms_of_contract(context: HandlerContext, request: ApiRequest) -> HandlerResult:
    """List the VMs that are billed under a contract, oldest first."""
    contract_id = request.resource_id()
    if contract_id not in CONTRACT_IDS:
        raise not_found_error(f"Contract {contract_id} does not exist")
    query = VmQuery(search=request.search(), contract=contract_id)
    _total, vms = context.session.list_vms(query, request.page(), context.now)
    items = [serializers.contract_vm(vm, context.now) for vm in vms]
    message = "Getting VMs of the contract successful"
    return HandlerResult({"status": True, "message": message, "instances": items})


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
    start_deletion(context, "virtual_machine", vm)
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
