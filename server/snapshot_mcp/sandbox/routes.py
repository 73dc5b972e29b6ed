"""Routes of the API: method, path and handler of each operation."""

from collections.abc import Callable

from snapshot_mcp.sandbox.handlers import (
    billing,
    catalogue,
    images,
    snapshots,
    virtual_machines,
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
    (
        "GET",
        "/core/virtual-machines/name-availability/{name:path}",
        virtual_machines.vm_name_availability,
    ),
    ("GET", "/core/virtual-machines/{id}", virtual_machines.get_vm),
    ("DELETE", "/core/virtual-machines/{id}", virtual_machines.delete_vm),
    ("GET", "/core/virtual-machines/{id}/events", virtual_machines.vm_events),
    ("POST", "/core/virtual-machines/{id}/snapshots", snapshots.create_snapshot),
    ("GET", "/core/regions", catalogue.list_regions),
    ("GET", "/core/environments", catalogue.list_environments),
    ("GET", "/core/stocks", catalogue.gpu_stocks),
    ("GET", "/core/images", images.list_images),
    ("GET", "/core/images/name-availability/{name:path}", images.image_name_availability),
    ("GET", "/core/image/name-availability/{name:path}", images.image_name_availability_of_sdks),
    ("GET", "/core/images/{id}", images.get_image),
    ("DELETE", "/core/images/{id}", images.delete_image),
    ("GET", "/pricebook", catalogue.pricebook),
    ("GET", "/pricebook/contracts", billing.list_contracts),
    ("GET", "/pricebook/contracts/{id}", billing.get_contract),
    ("GET", "/billing/user-credit/credit", billing.user_credit),
    ("GET", "/billing/billing/history/snapshot", billing.snapshot_billing_history),
)
