"""Routes of the API: method, path and handler of each operation."""

from collections.abc import Callable

from snapshot_mcp.sandbox.handlers import (
    billing,
    catalogue,
    environments,
    images,
    new_vms,
    power,
    snapshots,
    virtual_machines,
    vm_settings,
)
from snapshot_mcp.sandbox.handlers.context import HandlerContext, HandlerResult
from snapshot_mcp.sandbox.request import ApiRequest

Handler = Callable[[HandlerContext, ApiRequest], HandlerResult]

# Source: the vendor's OpenAPI document. The route of a name precedes those of an id, which would
# match it too.
ROUTES: tuple[tuple[str, str, Handler], ...] = (
    ("GET", "/core/snapshots", snapshots.list_snapshots),
    ("GET", "/core/snapshots/name-availability/{name:path}", snapshots.name_availability),
    ("GET", "/core/snapshots/{id}", snapshots.get_snapshot),
    ("DELETE", "/core/snapshots/{id}", snapshots.delete_snapshot),
    ("GET", "/core/snapshots/{id}/events", snapshots.snapshot_events),
    ("POST", "/core/snapshots/{id}/restore", snapshots.restore_snapshot),
    ("POST", "/core/snapshots/{id}/image", snapshots.create_image),
    ("GET", "/core/virtual-machines", virtual_machines.list_vms),
    ("POST", "/core/virtual-machines", new_vms.create_vms),
    (
        "GET",
        "/core/virtual-machines/name-availability/{name:path}",
        virtual_machines.vm_name_availability,
    ),
    (
        "GET",
        "/core/virtual-machines/contract/{id}/virtual-machines",
        virtual_machines.list_vms_of_contract,
    ),
    ("GET", "/core/virtual-machines/{id}", virtual_machines.get_vm),
    ("DELETE", "/core/virtual-machines/{id}", virtual_machines.delete_vm),
    ("GET", "/core/virtual-machines/{id}/events", virtual_machines.vm_events),
    ("GET", "/core/virtual-machines/{id}/start", power.start_vm),
    ("GET", "/core/virtual-machines/{id}/stop", power.stop_vm),
    ("GET", "/core/virtual-machines/{id}/hard-reboot", power.hard_reboot_vm),
    ("GET", "/core/virtual-machines/{id}/hibernate", power.hibernate_vm),
    ("GET", "/core/virtual-machines/{id}/hibernate-restore", power.restore_hibernated_vm),
    ("PUT", "/core/virtual-machines/{id}/label", vm_settings.edit_vm_labels),
    ("POST", "/core/virtual-machines/{id}/resize", vm_settings.resize_vm),
    (
        "PATCH",
        "/core/virtual-machines/{id}/enhanced-metrics",
        vm_settings.toggle_enhanced_metrics,
    ),
    ("POST", "/core/virtual-machines/{id}/attach-firewalls", vm_settings.attach_firewalls),
    ("POST", "/core/virtual-machines/{id}/sg-rules", vm_settings.create_security_rule),
    (
        "DELETE",
        "/core/virtual-machines/{id}/sg-rules/{rule_id}",
        vm_settings.delete_security_rule,
    ),
    ("POST", "/core/virtual-machines/{id}/logs", vm_settings.request_vm_logs),
    ("GET", "/core/virtual-machines/{id}/logs", vm_settings.vm_logs),
    ("GET", "/core/virtual-machines/{id}/metrics", vm_settings.vm_metrics),
    ("POST", "/core/virtual-machines/{id}/snapshots", snapshots.create_snapshot),
    ("GET", "/core/regions", catalogue.list_regions),
    ("GET", "/core/environments", environments.list_environments),
    ("POST", "/core/environments", environments.create_environment),
    ("PUT", "/core/environments/{id}", environments.update_environment),
    ("DELETE", "/core/environments/{id}", environments.delete_environment),
    (
        "GET",
        "/core/environments/name-availability/{name:path}",
        environments.environment_name_availability,
    ),
    ("GET", "/core/environments/{id}", environments.get_environment),
    ("GET", "/core/environments/{id}/vm-quota", environments.environment_vm_quota),
    ("GET", "/core/flavors", catalogue.list_flavors),
    ("GET", "/core/stocks", catalogue.gpu_stocks),
    ("GET", "/core/images", images.list_images),
    ("GET", "/core/images/name-availability/{name:path}", images.image_name_availability),
    ("GET", "/core/image/name-availability/{name:path}", images.image_name_availability_of_sdks),
    ("GET", "/core/images/{id}", images.get_image),
    ("DELETE", "/core/images/{id}", images.delete_image),
    ("GET", "/pricebook", catalogue.pricebook),
    ("GET", "/pricebook/calculate/resource/{kind}/{id}", catalogue.resource_price),
    ("GET", "/pricebook/contracts", billing.list_contracts),
    ("GET", "/pricebook/contracts/{id}", billing.get_contract),
    (
        "GET",
        "/pricebook/contracts/{id}/gpu_allocation_graph",
        billing.contract_gpu_allocation_graph,
    ),
    ("GET", "/auth/users/me/permissions", catalogue.my_permissions),
    ("GET", "/billing/user-credit/credit", billing.user_credit),
    ("GET", "/billing/billing/history/snapshot", billing.snapshot_billing_history),
)

# Source: the vendor's OpenAPI document: these calls change something, although they are GET.
_WRITING_GETS = frozenset(
    {
        power.start_vm,
        power.stop_vm,
        power.hard_reboot_vm,
        power.hibernate_vm,
        power.restore_hibernated_vm,
    }
)


def is_write(method: str, handler: Handler) -> bool:
    """Return whether the call may change something."""
    return method != "GET" or handler in _WRITING_GETS
