"""Handlers that change the power state of a VM.

Source: the vendor's guide for the states in which each operation is possible. The texts of the
replies are specific to the embedded cloud.
"""

from dataclasses import replace

from snapshot_mcp.sandbox import events, lifecycle
from snapshot_mcp.sandbox.errors import bad_request_error
from snapshot_mcp.sandbox.handlers.context import (
    HandlerContext,
    HandlerResult,
    check_not_busy,
    require_vm,
)
from snapshot_mcp.sandbox.request import ApiRequest


def start_vm(context: HandlerContext, request: ApiRequest) -> HandlerResult:
    """Start a VM that is shut off."""
    return _change_power(context, request, "start", "SHUTOFF", "STARTING", "ACTIVE")


def stop_vm(context: HandlerContext, request: ApiRequest) -> HandlerResult:
    """Shut off a VM that is running."""
    return _change_power(context, request, "stop", "ACTIVE", "STOPPING", "SHUTOFF")


def hard_reboot_vm(context: HandlerContext, request: ApiRequest) -> HandlerResult:
    """Restart a VM that is running."""
    return _change_power(context, request, "hard reboot", "ACTIVE", "REBOOTING", "ACTIVE")


def hibernate_vm(context: HandlerContext, request: ApiRequest) -> HandlerResult:
    """Hibernate a VM that is running."""
    vm = require_vm(context, request.resource_id())
    if vm.config.flavor["features"]["no_hibernation"]:
        raise bad_request_error(f"The flavor {vm.config.flavor['name']} cannot be hibernated.")
    return _change_power(context, request, "hibernation", "ACTIVE", "HIBERNATING", "HIBERNATED")


def restore_hibernated_vm(context: HandlerContext, request: ApiRequest) -> HandlerResult:
    """Start a VM that is hibernated."""
    name = "restore from hibernation"
    return _change_power(context, request, name, "HIBERNATED", "RESTORING", "ACTIVE")


def _change_power(
    context: HandlerContext, request: ApiRequest, name: str, required: str, phase: str, idle: str
) -> HandlerResult:
    """Start a change of the power state.

    Args:
        context: the transaction and the time.
        request: the request.
        name: the name of the operation.
        required: the status that the VM must have.
        phase: its status during the change.
        idle: its status afterwards.
    """
    vm = require_vm(context, request.resource_id())
    check_not_busy(vm, context.now)
    status = lifecycle.vm_state(vm.times, context.now).status
    if status != required:
        raise bad_request_error(f"VM {vm.id} is {status}; it must be {required} for a {name}.")
    times = replace(vm.times, idle_status=idle, power_phase=phase, power_started_at=context.now)
    context.session.change_vm(replace(vm, times=times))
    events.record_vm_change(context.session, vm, context.now, name.replace(" ", "_"))
    message = f"The {name} of the instance has started."
    return HandlerResult({"status": True, "message": message})
