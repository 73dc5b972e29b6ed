"""A minimal OpenAPI document of the API calls behind six of this server's tools.

Responses are described as plain objects, which is the cheapest for a server that generates its
tools and its validation from a document.
"""

from typing import Any

Json = dict[str, Any]

_RESPONSES: Json = {
    "200": {"description": "Done", "content": {"application/json": {"schema": {"type": "object"}}}}
}
_ID_PARAMETER: Json = {"name": "id", "in": "path", "required": True, "schema": {"type": "integer"}}
_PAGING: list[Json] = [
    {"name": "page", "in": "query", "schema": {"type": "integer"}},
    {"name": "pageSize", "in": "query", "schema": {"type": "integer"}},
    {"name": "search", "in": "query", "schema": {"type": "string"}},
]
_STRING_LIST: Json = {"type": "array", "items": {"type": "string"}}


def build_document() -> Json:
    """Return the document."""
    return {
        "openapi": "3.1.0",
        "info": {"title": "Snapshots", "version": "1"},
        "paths": {
            "/core/snapshots": {"get": _operation("list_snapshots", "List snapshots", _PAGING)},
            "/core/snapshots/{id}": {
                "get": _operation("get_snapshot", "Read a snapshot", [_ID_PARAMETER]),
                "delete": _operation("delete_snapshot", "Delete a snapshot", [_ID_PARAMETER]),
            },
            "/core/snapshots/{id}/restore": {
                "post": _operation(
                    "restore_snapshot",
                    "Restore a snapshot as a new VM",
                    [_ID_PARAMETER],
                    {"new_vm_name": {"type": "string"}, "contract_id": {"type": "integer"}},
                )
            },
            "/core/virtual-machines": {
                "get": _operation("list_virtual_machines", "List VMs", _PAGING)
            },
            "/core/virtual-machines/{id}/snapshots": {
                "post": _operation(
                    "create_snapshot",
                    "Take a snapshot of a VM",
                    [_ID_PARAMETER],
                    {
                        "name": {"type": "string"},
                        "description": {"type": "string"},
                        "labels": _STRING_LIST,
                    },
                )
            },
        },
    }


def _operation(name: str, summary: str, parameters: list[Json], body: Json | None = None) -> Json:
    operation: Json = {
        "operationId": name,
        "summary": summary,
        "parameters": parameters,
        "responses": _RESPONSES,
    }
    if body:
        # The cloud requires only the first field.
        schema = {"type": "object", "properties": body, "required": list(body)[:1]}
        operation["requestBody"] = {
            "required": True,
            "content": {"application/json": {"schema": schema}},
        }
    return operation
