"""Operations: parameters, bodies and statuses of every handler, for the OpenAPI document."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import BaseModel, TypeAdapter

from snapshot_mcp.sandbox.catalogue import CONTRACT_IDS
from snapshot_mcp.sandbox.entities import Json
from snapshot_mcp.sandbox.openapi import bodies, schemas
from snapshot_mcp.sandbox.request import (
    DEFAULT_PAGE_SIZE,
    MAX_PAGE_NUMBER,
    MAX_PAGE_SIZE,
)
from snapshot_mcp.sandbox.seed import (
    EMPTY_ENVIRONMENT_ID,
    FIRST_ENVIRONMENT_ID,
    FIRST_IMAGE_ID,
    FIRST_SNAPSHOT_ID,
    FIRST_VM_ID,
    HIBERNATED_VM_ID,
    STOPPED_VM_ID,
)

# The operations with the id of a snapshot in their path, and those with the id of a VM.
_SNAPSHOT_OPERATIONS = (
    "get_snapshot",
    "snapshot_events",
    "restore_snapshot",
    "create_image",
    "delete_snapshot",
)
_IMAGE_OPERATIONS = ("get_image", "delete_image")
# With the parameter whose example is a VM in the required state.
_ENVIRONMENT_OPERATIONS = (
    "get_environment",
    "environment_vm_quota",
    "update_environment",
    "delete_environment",
)
_POWER_OPERATIONS = {
    "start_vm": "stopped_vm_id",
    "stop_vm": "vm_id",
    "hard_reboot_vm": "running_vm_id",
    "hibernate_vm": "other_running_vm_id",
    "restore_hibernated_vm": "hibernated_vm_id",
}
_VM_OPERATIONS = (
    "get_vm",
    "vm_events",
    "edit_vm_labels",
    *_POWER_OPERATIONS,
    "create_snapshot",
    "delete_vm",
)


@dataclass(frozen=True)
class Operation:
    """The parameters, bodies and statuses of one operation.

    Attributes:
        response_body: the body of a successful response.
        error_statuses: the statuses of its error responses.
        status: the status of a successful response.
        request_body: the body of a request.
        parameters: keys of its parameters in `PARAMETERS`.
        id_link: a JSON pointer to an id in the response, and the operations that take this id.
        public: whether it needs no API key.
    """

    response_body: type[BaseModel]
    error_statuses: tuple[int, ...] = (401, 500)
    status: int = 200
    request_body: type[BaseModel] | None = None
    parameters: tuple[str, ...] = ()
    id_link: tuple[str, tuple[str, ...]] | None = None
    public: bool = False


_VALIDATION_ERRORS = (400, 401, 500)
_LOOKUP_ERRORS = (400, 401, 404, 500)

OPERATIONS = {
    "list_snapshots": Operation(
        bodies.SnapshotList,
        _VALIDATION_ERRORS,
        parameters=("page", "pageSize", "search"),
        id_link=("/snapshots/0/id", _SNAPSHOT_OPERATIONS),
    ),
    "name_availability": Operation(
        bodies.NameAvailability, _VALIDATION_ERRORS, parameters=("name",)
    ),
    "get_snapshot": Operation(bodies.SnapshotRead, _LOOKUP_ERRORS, parameters=("snapshot_id",)),
    "delete_snapshot": Operation(
        bodies.Done, (400, 401, 404, 409, 500), parameters=("snapshot_id",)
    ),
    "snapshot_events": Operation(
        bodies.SnapshotEvents, _LOOKUP_ERRORS, parameters=("snapshot_id",)
    ),
    "restore_snapshot": Operation(
        bodies.SnapshotRestored,
        (400, 401, 404, 409, 500),
        parameters=("snapshot_id",),
        request_body=bodies.RestoreSnapshot,
        id_link=("/instances/0/id", _VM_OPERATIONS),
    ),
    "create_image": Operation(
        bodies.ImageMade,
        (400, 401, 404, 406, 409, 500),
        parameters=("snapshot_id",),
        request_body=bodies.CreateImage,
        id_link=("/image/id", _IMAGE_OPERATIONS),
    ),
    "list_vms": Operation(
        bodies.InstanceList,
        _VALIDATION_ERRORS,
        parameters=("page", "pageSize", "search", "environment", "exact_environment_match"),
        id_link=("/instances/0/id", _VM_OPERATIONS),
    ),
    "vm_name_availability": Operation(
        bodies.NameAvailability, _VALIDATION_ERRORS, parameters=("name",)
    ),
    "get_vm": Operation(bodies.InstanceRead, _LOOKUP_ERRORS, parameters=("vm_id",)),
    "delete_vm": Operation(bodies.Done, (400, 401, 404, 409, 500), parameters=("vm_id",)),
    **{
        name: Operation(bodies.Done, _LOOKUP_ERRORS, parameters=(parameter,))
        for name, parameter in _POWER_OPERATIONS.items()
    },
    "edit_vm_labels": Operation(
        bodies.Done, _LOOKUP_ERRORS, parameters=("vm_id",), request_body=bodies.EditLabels
    ),
    "create_vms": Operation(
        bodies.VmsCreated,
        (400, 401, 404, 409, 500),
        request_body=bodies.CreateVms,
        id_link=("/instances/0/id", _VM_OPERATIONS),
    ),
    "resize_vm": Operation(
        bodies.Done, _LOOKUP_ERRORS, parameters=("vm_id",), request_body=bodies.ResizeVm
    ),
    "toggle_enhanced_metrics": Operation(
        bodies.EnhancedMetricsChanged,
        _LOOKUP_ERRORS,
        parameters=("vm_id",),
        request_body=bodies.ToggleEnhancedMetrics,
    ),
    "attach_firewalls": Operation(
        bodies.Done, _LOOKUP_ERRORS, parameters=("vm_id",), request_body=bodies.AttachFirewalls
    ),
    "create_security_rule": Operation(
        bodies.SecurityRuleCreated,
        _LOOKUP_ERRORS,
        parameters=("vm_id",),
        request_body=bodies.CreateSecurityRule,
    ),
    "delete_security_rule": Operation(bodies.Done, _LOOKUP_ERRORS, parameters=("vm_id", "rule_id")),
    "request_vm_logs": Operation(
        bodies.LogsRequested,
        _LOOKUP_ERRORS,
        parameters=("vm_id",),
        request_body=bodies.RequestLogs,
    ),
    "vm_logs": Operation(bodies.Logs, _LOOKUP_ERRORS, parameters=("vm_id", "request_id")),
    "vm_metrics": Operation(bodies.Metrics, _LOOKUP_ERRORS, parameters=("vm_id",)),
    "list_vms_of_contract": Operation(
        bodies.ContractInstances,
        _LOOKUP_ERRORS,
        parameters=("contract_id", "page", "pageSize", "search"),
    ),
    "vm_events": Operation(bodies.InstanceEvents, _LOOKUP_ERRORS, parameters=("vm_id",)),
    "create_snapshot": Operation(
        bodies.SnapshotBegun,
        (400, 401, 404, 409, 500),
        status=201,
        parameters=("vm_id",),
        request_body=bodies.CreateSnapshot,
        id_link=("/snapshot/id", _SNAPSHOT_OPERATIONS),
    ),
    "list_regions": Operation(bodies.RegionList),
    "list_environments": Operation(
        bodies.EnvironmentList, _VALIDATION_ERRORS, parameters=("page", "pageSize", "search")
    ),
    "create_environment": Operation(
        bodies.EnvironmentRead,
        (400, 401, 404, 409, 500),
        request_body=bodies.CreateEnvironment,
        id_link=("/environment/id", _ENVIRONMENT_OPERATIONS),
    ),
    "update_environment": Operation(
        bodies.EnvironmentRead,
        (400, 401, 404, 409, 500),
        parameters=("environment_id",),
        request_body=bodies.UpdateEnvironment,
    ),
    "delete_environment": Operation(
        bodies.Done, _LOOKUP_ERRORS, parameters=("empty_environment_id",)
    ),
    "environment_name_availability": Operation(
        bodies.NameAvailability, _VALIDATION_ERRORS, parameters=("name",)
    ),
    "get_environment": Operation(
        bodies.EnvironmentRead, _LOOKUP_ERRORS, parameters=("environment_id",)
    ),
    "environment_vm_quota": Operation(
        bodies.VmQuota, _LOOKUP_ERRORS, parameters=("environment_id",)
    ),
    "list_flavors": Operation(bodies.FlavorList, parameters=("region",)),
    "my_permissions": Operation(bodies.PermissionList),
    "resource_price": Operation(
        bodies.ResourcePrice, _LOOKUP_ERRORS, parameters=("kind", "snapshot_id")
    ),
    "gpu_stocks": Operation(bodies.Stocks),
    "list_images": Operation(
        bodies.ImageList,
        _VALIDATION_ERRORS,
        parameters=("region", "include_public", "search", "page", "per_page"),
    ),
    "image_name_availability": Operation(
        bodies.NameAvailability, _VALIDATION_ERRORS, parameters=("name",)
    ),
    "image_name_availability_of_sdks": Operation(
        bodies.NameAvailability, _VALIDATION_ERRORS, parameters=("name",)
    ),
    "get_image": Operation(
        bodies.ImageRead, _LOOKUP_ERRORS, parameters=("image_id", "include_related_vms")
    ),
    "delete_image": Operation(bodies.Done, _LOOKUP_ERRORS, parameters=("image_id",)),
    "list_contracts": Operation(
        bodies.ContractList, _VALIDATION_ERRORS, parameters=("page", "per_page")
    ),
    "get_contract": Operation(bodies.ContractRead, _LOOKUP_ERRORS, parameters=("contract_id",)),
    "contract_gpu_allocation_graph": Operation(
        bodies.ContractGpuAllocation,
        _LOOKUP_ERRORS,
        parameters=("contract_id", "start_date", "end_date"),
    ),
    "user_credit": Operation(bodies.Credit),
    "snapshot_billing_history": Operation(
        bodies.SnapshotBillingHistory,
        _VALIDATION_ERRORS,
        parameters=("start_date", "end_date", "search", "page", "per_page"),
    ),
    "pricebook": Operation(bodies.Pricebook),
    "openapi_document": Operation(bodies.OpenApiDocument, (), public=True),
}


def links(pointer: str, operation_ids: Iterable[str]) -> Json:
    """Return the links from a response to the operations that take an id in it.

    Args:
        pointer: a JSON pointer to the id in the response.
        operation_ids: the operations that take the id.
    """
    parameters = {"id": f"$response.body#{pointer}"}
    return {name: {"operationId": name, "parameters": parameters} for name in operation_ids}


def _query_parameter(name: str, schema: Json, description: str) -> Json:
    return {"name": name, "in": "query", "schema": schema, "description": description}


def _path_parameter(name: str, kind: Any, example: object) -> Json:  # noqa: ANN401 - any type with a schema
    schema = TypeAdapter[Any](kind).json_schema()
    return {"name": name, "in": "path", "required": True, "schema": schema, "example": example}


TIME_SCHEMA = {
    "type": "string",
    "pattern": r"^20\d{2}-(0[1-9]|1[0-2])-(0[1-9]|1\d|2[0-8])T([01]\d|2[0-3]):[0-5]\d:[0-5]\d$",
}
PARAMETERS: Json = {
    "snapshot_id": _path_parameter("id", schemas.Id, FIRST_SNAPSHOT_ID),
    "vm_id": _path_parameter("id", schemas.Id, FIRST_VM_ID),
    "running_vm_id": _path_parameter("id", schemas.Id, FIRST_VM_ID + 3),
    "other_running_vm_id": _path_parameter("id", schemas.Id, FIRST_VM_ID + 4),
    "stopped_vm_id": _path_parameter("id", schemas.Id, STOPPED_VM_ID),
    "hibernated_vm_id": _path_parameter("id", schemas.Id, HIBERNATED_VM_ID),
    "image_id": _path_parameter("id", schemas.Id, FIRST_IMAGE_ID),
    "contract_id": _path_parameter("id", schemas.Id, min(CONTRACT_IDS)),
    "rule_id": _path_parameter("rule_id", schemas.Id, 1),
    "request_id": _query_parameter(
        "request_id",
        {"type": "integer", "minimum": 1, "example": FIRST_VM_ID},
        "The number in the response to the request for logs",
    )
    | {"required": True},
    "empty_environment_id": _path_parameter("id", schemas.Id, EMPTY_ENVIRONMENT_ID),
    "environment_id": _path_parameter("id", schemas.Id, FIRST_ENVIRONMENT_ID),
    "kind": _path_parameter("kind", Literal["virtual-machine", "snapshot"], "snapshot"),
    "name": _path_parameter("name", schemas.Name, "before the upgrade"),
    "page": _query_parameter(
        "page",
        {"type": "integer", "minimum": 1, "maximum": MAX_PAGE_NUMBER},
        "Number of the page; without it and pageSize, the complete list is returned",
    ),
    "pageSize": _query_parameter(
        "pageSize",
        {"type": "integer", "minimum": 1, "maximum": MAX_PAGE_NUMBER},
        f"By default {DEFAULT_PAGE_SIZE}; a larger number than {MAX_PAGE_SIZE} is reduced to"
        f" {MAX_PAGE_SIZE}",
    ),
    "per_page": _query_parameter(
        "per_page",
        {"type": "integer", "minimum": 1, "maximum": MAX_PAGE_NUMBER},
        f"By default {DEFAULT_PAGE_SIZE}; a larger number than {MAX_PAGE_SIZE} is reduced to"
        f" {MAX_PAGE_SIZE}",
    ),
    "region": _query_parameter("region", {"type": "string"}, "Name of a region"),
    "include_public": _query_parameter(
        "include_public",
        {"type": "boolean"},
        "Whether to include public images; by default true",
    ),
    "include_related_vms": _query_parameter(
        "include_related_vms", {"type": "boolean"}, "Whether to add the VMs created from the image"
    ),
    "start_date": _query_parameter(
        "start_date", TIME_SCHEMA, "Start of the period; by default 30 days ago"
    ),
    "end_date": _query_parameter("end_date", TIME_SCHEMA, "End of the period; by default now"),
    "search": _query_parameter("search", {"type": "string"}, "Part of a name, or a snapshot's id"),
    "environment": _query_parameter(
        "environment", {"type": "string"}, "Part of the name of an environment; case is ignored"
    ),
    "exact_environment_match": _query_parameter(
        "exact_environment_match", {"type": "boolean"}, "Whether `environment` is the complete name"
    ),
}
