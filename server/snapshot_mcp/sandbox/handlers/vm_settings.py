"""Handlers that change the settings of a VM, and read its logs and metrics.

Source: the vendor's OpenAPI document for the formats. The texts are specific to the embedded cloud,
which has no firewalls, and VMs that write no logs and use no resources.
"""

from dataclasses import replace

from snapshot_mcp.sandbox import catalogue, serializers
from snapshot_mcp.sandbox.entities import Json, Vm
from snapshot_mcp.sandbox.errors import not_found_error
from snapshot_mcp.sandbox.handlers.context import (
    HandlerContext,
    HandlerResult,
    check_not_busy,
    require_vm,
)
from snapshot_mcp.sandbox.request import ApiRequest

_RULE_FIELDS = (
    "direction",
    "ethertype",
    "protocol",
    "remote_ip_prefix",
    "port_range_min",
    "port_range_max",
)
_METRICS = {
    "cpu": "%",
    "memory.usages": "%",
    "disk.read": "B/s",
    "disk.write": "B/s",
    "network.in": "B/s",
    "network.out": "B/s",
}


def edit_vm_labels(context: HandlerContext, request: ApiRequest) -> HandlerResult:
    """Replace the labels of a VM."""
    labels = request.fields("labels").labels()
    vm = _require_idle_vm(context, request)
    context.session.change_vm(replace(vm, labels=labels))
    return HandlerResult({"status": True, "message": "Labels of the instance were updated."})


def resize_vm(context: HandlerContext, request: ApiRequest) -> HandlerResult:
    """Give a VM another flavor."""
    name = request.fields("flavor_name", "flavor").text("flavor_name")
    vm = _require_idle_vm(context, request)
    region = vm.config.environment["region"]
    config = replace(vm.config, flavor=require_flavor(name, region))
    context.session.change_vm(replace(vm, config=config))
    return HandlerResult({"status": True, "message": "Instance is being resized."})


def toggle_enhanced_metrics(context: HandlerContext, request: ApiRequest) -> HandlerResult:
    """Enable or disable the enhanced metrics of a VM."""
    enabled = request.fields("enabled").flag("enabled")
    vm = _require_idle_vm(context, request)
    config = replace(vm.config, enhanced_metrics=enabled)
    context.session.change_vm(replace(vm, config=config))
    return HandlerResult(
        {
            "status": True,
            "message": "Enhanced metrics were updated.",
            "install_command": None,
            "metrics": {"enabled": enabled},
        }
    )


def attach_firewalls(context: HandlerContext, request: ApiRequest) -> HandlerResult:
    """Replace the firewalls of a VM; as the embedded cloud has none, only by an empty list."""
    firewalls = request.fields("firewalls").numbers("firewalls")
    _require_idle_vm(context, request)
    if firewalls:
        raise not_found_error(f"Firewall {firewalls[0]} does not exist")
    return HandlerResult({"status": True, "message": "Firewalls of the instance were updated."})


def create_security_rule(context: HandlerContext, request: ApiRequest) -> HandlerResult:
    """Add a firewall rule to a VM."""
    fields = request.fields(*_RULE_FIELDS)
    texts = {key: fields.text(key) for key in _RULE_FIELDS[:4]}
    ports = {key: fields.number(key) for key in _RULE_FIELDS[4:]}
    vm = _require_idle_vm(context, request)
    rules = vm.config.security_rules
    rule: Json = {
        "id": 1 + max((rule["id"] for rule in rules), default=0),
        **texts,
        **ports,
        "status": "SUCCESS",
        "created_at": serializers.format_time(context.now),
    }
    context.session.change_vm(replace(vm, config=replace(vm.config, security_rules=[*rules, rule])))
    message = "Security rule was added."
    return HandlerResult({"status": True, "message": message, "security_rule": rule})


def delete_security_rule(context: HandlerContext, request: ApiRequest) -> HandlerResult:
    """Delete a firewall rule of a VM."""
    vm, rule_id = _require_idle_vm(context, request), request.resource_id("rule_id")
    kept = [rule for rule in vm.config.security_rules if rule["id"] != rule_id]
    if len(kept) == len(vm.config.security_rules):
        raise not_found_error(f"Security rule {rule_id} does not exist")
    context.session.change_vm(replace(vm, config=replace(vm.config, security_rules=kept)))
    return HandlerResult({"status": True, "message": "Security rule was deleted."})


def request_vm_logs(context: HandlerContext, request: ApiRequest) -> HandlerResult:
    """Request the console log of a VM. The body has neither `status` nor `message`."""
    request.fields("length").number("length")
    return HandlerResult({"request_id": require_vm(context, request.resource_id()).id})


def vm_logs(context: HandlerContext, request: ApiRequest) -> HandlerResult:
    """Read a requested console log, which is empty. The body has only `logs`."""
    vm = require_vm(context, request.resource_id())
    if request.text("request_id") != str(vm.id):
        raise not_found_error("There is no such request for logs")
    return HandlerResult({"logs": ""})


def vm_metrics(context: HandlerContext, request: ApiRequest) -> HandlerResult:
    """Read the metrics of a VM, which are empty. The body has one key for each metric."""
    require_vm(context, request.resource_id())
    return HandlerResult(
        {
            name: {"columns": ["time", "value"], "unit": unit, "data": []}
            for name, unit in _METRICS.items()
        }
    )


def require_flavor(name: str, region: str) -> Json:
    """Return a flavor.

    Raises:
        ApiError: 404 if there is no such flavor.
    """
    if name not in catalogue.FLAVORS:
        raise not_found_error(f"Flavor {name} does not exist")
    return catalogue.flavor(name, region)


def _require_idle_vm(context: HandlerContext, request: ApiRequest) -> Vm:
    vm = require_vm(context, request.resource_id())
    check_not_busy(vm, context.now)
    return vm
