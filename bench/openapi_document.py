"""An OpenAPI document of the calls behind our six tools, as terse as one can be.

Its replies are told as plain objects: that is the cheapest for a server which makes its tools and
its checks of a document.
"""

from typing import Any

Json = dict[str, Any]

_REPLY: Json = {
    "200": {"description": "Done", "content": {"application/json": {"schema": {"type": "object"}}}}
}
_SNAPSHOT: Json = {"name": "id", "in": "path", "required": True, "schema": {"type": "integer"}}
_PAGES: list[Json] = [
    {"name": "page", "in": "query", "schema": {"type": "integer"}},
    {"name": "pageSize", "in": "query", "schema": {"type": "integer"}},
    {"name": "search", "in": "query", "schema": {"type": "string"}},
]
_TEXTS: Json = {"type": "array", "items": {"type": "string"}}


def document() -> Json:
    """The document."""
    return {
        "openapi": "3.1.0",
        "info": {"title": "Snapshots", "version": "1"},
        "paths": {
            "/core/snapshots": {"get": _call("list_snapshots", "List snapshots", _PAGES)},
            "/core/snapshots/{id}": {
                "get": _call("get_snapshot", "Read a snapshot", [_SNAPSHOT]),
                "delete": _call("delete_snapshot", "Delete a snapshot", [_SNAPSHOT]),
            },
            "/core/snapshots/{id}/restore": {
                "post": _call(
                    "restore_snapshot",
                    "Restore a snapshot as a new VM",
                    [_SNAPSHOT],
                    {"new_vm_name": {"type": "string"}, "contract_id": {"type": "integer"}},
                )
            },
            "/core/virtual-machines": {"get": _call("list_virtual_machines", "List VMs", _PAGES)},
            "/core/virtual-machines/{id}/snapshots": {
                "post": _call(
                    "create_snapshot",
                    "Take a snapshot of a VM",
                    [_SNAPSHOT],
                    {
                        "name": {"type": "string"},
                        "description": {"type": "string"},
                        "labels": _TEXTS,
                    },
                )
            },
        },
    }


def _call(name: str, summary: str, parameters: list[Json], body: Json | None = None) -> Json:
    call: Json = {
        "operationId": name,
        "summary": summary,
        "parameters": parameters,
        "responses": _REPLY,
    }
    if body:
        # The first field is the one that the cloud requires.
        schema = {"type": "object", "properties": body, "required": list(body)[:1]}
        call["requestBody"] = {
            "required": True,
            "content": {"application/json": {"schema": schema}},
        }
    return call
