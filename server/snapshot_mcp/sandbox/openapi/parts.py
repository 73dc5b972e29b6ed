"""What each call takes and answers, for the OpenAPI document; every action has its part here."""

from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, TypeAdapter

from snapshot_mcp.sandbox.entities import Json
from snapshot_mcp.sandbox.openapi import envelopes, shapes
from snapshot_mcp.sandbox.request import (
    DEFAULT_PAGE_SIZE,
    MAX_PAGE,
    MAX_PAGE_SIZE,
)
from snapshot_mcp.sandbox.seed import FIRST_SNAPSHOT_ID, FIRST_VM_ID

# The calls that take the id of a snapshot, and those that take a VM's.
_OF_SNAPSHOT = (
    "get_snapshot",
    "snapshot_events",
    "restore_snapshot",
    "create_image",
    "delete_snapshot",
)
_OF_VM = ("get_vm", "vm_events", "create_snapshot", "delete_vm")


@dataclass(frozen=True)
class Part:
    """What one call takes and answers.

    Attributes:
        reply: the body of its success.
        refusals: the other statuses that it can answer.
        status: the status of its success.
        body: what it is sent.
        parameters: keys of its parameters in `PARAMETERS`.
        leads: where in the reply an id stands, and the calls that take it.
        public: whether it needs no key.
    """

    reply: type[BaseModel]
    refusals: tuple[int, ...] = (401, 500)
    status: int = 200
    body: type[BaseModel] | None = None
    parameters: tuple[str, ...] = ()
    leads: tuple[str, tuple[str, ...]] | None = None
    public: bool = False


_CHECKED = (400, 401, 500)
_ADDRESSED = (400, 401, 404, 500)

PARTS = {
    "list_snapshots": Part(
        envelopes.SnapshotList,
        _CHECKED,
        parameters=("page", "pageSize", "search"),
        leads=("/snapshots/0/id", _OF_SNAPSHOT),
    ),
    "name_availability": Part(envelopes.NameAvailability, _CHECKED, parameters=("name",)),
    "get_snapshot": Part(envelopes.SnapshotRead, _ADDRESSED, parameters=("snapshot_id",)),
    "delete_snapshot": Part(envelopes.Done, (400, 401, 404, 409, 500), parameters=("snapshot_id",)),
    "snapshot_events": Part(envelopes.SnapshotEvents, _ADDRESSED, parameters=("snapshot_id",)),
    "restore_snapshot": Part(
        envelopes.SnapshotRestored,
        (400, 401, 404, 409, 500),
        parameters=("snapshot_id",),
        body=envelopes.RestoreSnapshot,
        leads=("/instances/0/id", _OF_VM),
    ),
    "create_image": Part(
        envelopes.ImageMade,
        (400, 401, 404, 406, 409, 500),
        parameters=("snapshot_id",),
        body=envelopes.CreateImage,
    ),
    "list_vms": Part(
        envelopes.InstanceList,
        _CHECKED,
        parameters=("page", "pageSize", "search", "environment"),
        leads=("/instances/0/id", _OF_VM),
    ),
    "get_vm": Part(envelopes.InstanceRead, _ADDRESSED, parameters=("vm_id",)),
    "delete_vm": Part(envelopes.Done, _ADDRESSED, parameters=("vm_id",)),
    "vm_events": Part(envelopes.InstanceEvents, _ADDRESSED, parameters=("vm_id",)),
    "create_snapshot": Part(
        envelopes.SnapshotBegun,
        (400, 401, 404, 409, 500),
        status=201,
        parameters=("vm_id",),
        body=envelopes.CreateSnapshot,
        leads=("/snapshot/id", _OF_SNAPSHOT),
    ),
    "list_regions": Part(envelopes.RegionList),
    "list_environments": Part(envelopes.EnvironmentList),
    "list_images": Part(envelopes.ImageList),
    "pricebook": Part(envelopes.Pricebook),
    "openapi_document": Part(envelopes.OpenApiDocument, (), public=True),
}


def links(leads: tuple[str, tuple[str, ...]]) -> Json:
    """The links from a reply to the calls that take the id in it."""
    place, calls = leads
    parameters = {"id": f"$response.body#{place}"}
    return {call: {"operationId": call, "parameters": parameters} for call in calls}


def _in_query(name: str, schema: Json, description: str) -> Json:
    return {"name": name, "in": "query", "schema": schema, "description": description}


def _in_path(name: str, kind: Any, example: object) -> Json:  # noqa: ANN401 - any type with a schema
    schema = TypeAdapter[Any](kind).json_schema()
    return {"name": name, "in": "path", "required": True, "schema": schema, "example": example}


PARAMETERS: Json = {
    "snapshot_id": _in_path("id", shapes.Id, FIRST_SNAPSHOT_ID),
    "vm_id": _in_path("id", shapes.Id, FIRST_VM_ID),
    "name": _in_path("name", shapes.Name, "before the upgrade"),
    "page": _in_query(
        "page",
        {"type": "integer", "minimum": 1, "maximum": MAX_PAGE},
        "Which page; without it and pageSize the whole list is answered",
    ),
    "pageSize": _in_query(
        "pageSize",
        {"type": "integer", "minimum": 1, "maximum": MAX_PAGE},
        f"{DEFAULT_PAGE_SIZE} where only a page is given; above {MAX_PAGE_SIZE} it counts as"
        f" {MAX_PAGE_SIZE}",
    ),
    "search": _in_query("search", {"type": "string"}, "Part of a name, in whatever case"),
    "environment": _in_query("environment", {"type": "string"}, "Name of an environment"),
}
