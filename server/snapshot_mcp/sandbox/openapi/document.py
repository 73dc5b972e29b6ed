"""The OpenAPI 3.1 document of the embedded cloud.

The app passes its routes. `operations` describes each one under the name of its handler, `bodies`
the requests and responses, and `schemas` the resources.
"""

from collections.abc import Callable, Iterable
from http import HTTPStatus
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue, models_json_schema
from pydantic_core import core_schema

from snapshot_mcp import __version__
from snapshot_mcp.core.docstrings import read_docstring
from snapshot_mcp.sandbox.entities import Json
from snapshot_mcp.sandbox.errors import ERROR_REASONS
from snapshot_mcp.sandbox.openapi.operations import OPERATIONS, PARAMETERS, Operation, links
from snapshot_mcp.sandbox.request import MAX_BODY_BYTES

# Method, path and handler. The name and docstring of the handler go into the document.
RouteSpec = tuple[str, str, Callable[..., Any]]

_SCHEMA_REFERENCE = "#/components/schemas/{model}"
_DESCRIPTION = f"""The snapshots API of the embedded cloud, on SQLite.

A request body of more than {MAX_BODY_BYTES} bytes, or with text that is not valid Unicode, is a bad
request. HEAD is handled like GET. An unknown path returns 404. A known path with another method
returns 405 and an `Allow` header. Both have the same body as every other error response."""
_CONTENT_LENGTH = {"Content-Length": {"$ref": "#/components/headers/Content-Length"}}


def document(routes: Iterable[RouteSpec]) -> Json:
    """Return the document for these routes, ready to be serialized as JSON."""
    paths: Json = {}
    for method, path, handler in routes:
        # The converter `:path` is specific to Starlette.
        item = paths.setdefault(path.replace(":path}", "}"), {})
        item[method.lower()] = _operation_item(handler, OPERATIONS[handler.__name__])
    return {
        "openapi": "3.1.0",
        "info": {"title": "Embedded cloud", "version": __version__, "description": _DESCRIPTION},
        "servers": [{"url": "/v1"}],
        "security": [{"api_key": []}],
        "paths": paths,
        "components": _components(),
    }


def _operation_item(handler: Callable[..., Any], operation: Operation) -> Json:
    item: Json = {
        "operationId": handler.__name__,
        "summary": read_docstring(handler).partition("\n")[0].partition(" Source:")[0],
        "parameters": [{"$ref": f"#/components/parameters/{key}"} for key in operation.parameters],
        "responses": {str(operation.status): _success_response(operation)},
    }
    for status in operation.error_statuses:
        item["responses"][str(status)] = {
            "$ref": f"#/components/responses/{_component_name(status)}"
        }
    if operation.request_body:
        content = _json_content(_reference(operation.request_body))
        item["requestBody"] = {"required": True, "content": content}
    if operation.public:
        item["security"] = []
    return item


def _success_response(operation: Operation) -> Json:
    response: Json = {
        "description": read_docstring(operation.response_body),
        "headers": _CONTENT_LENGTH,
        "content": _json_content(_reference(operation.response_body)),
    }
    return response | ({"links": links(*operation.id_link)} if operation.id_link else {})


def _components() -> Json:
    return {
        "securitySchemes": {"api_key": {"type": "apiKey", "in": "header", "name": "api_key"}},
        "parameters": PARAMETERS,
        "headers": {
            "Content-Length": {
                "description": "Size of the body in bytes",
                "required": True,
                "schema": {"type": "integer", "minimum": 1},
            }
        },
        "responses": {
            _component_name(status): _error_response(status)
            for status in ERROR_REASONS
            if status != _UNROUTED
        },
        "schemas": _schemas(),
    }


_UNROUTED = HTTPStatus.METHOD_NOT_ALLOWED  # no operation returns it, so none refers to it


def _error_response(status: int) -> Json:
    fields: Json = {
        "status": {"const": False},
        "message": {"type": "string"},
        "error_reason": {"enum": ERROR_REASONS[status]},
    }
    schema = {
        "type": "object",
        "properties": fields,
        "required": list(fields),
        "additionalProperties": False,
    }
    return {
        "description": HTTPStatus(status).phrase,
        "headers": _CONTENT_LENGTH,
        "content": _json_content(schema),
    }


def _schemas() -> Json:
    models = {
        model
        for operation in OPERATIONS.values()
        for model in (operation.response_body, operation.request_body)
        if model
    }
    sorted_models = sorted(models, key=lambda model: model.__name__)
    _, result = models_json_schema(
        [(model, "validation") for model in sorted_models],
        ref_template=_SCHEMA_REFERENCE,
        schema_generator=_SchemaGenerator,
    )
    return result["$defs"]


class _SchemaGenerator(GenerateJsonSchema):
    """Schemas without titles, which repeat names, and defaults, which only mark optional fields."""

    def field_title_should_be_set(self, schema: Any) -> bool:  # noqa: ANN401, ARG002 - as inherited
        return False

    def default_schema(self, schema: core_schema.WithDefaultSchema) -> JsonSchemaValue:
        return self.generate_inner(schema["schema"])


def _json_content(schema: Json) -> Json:
    return {"application/json": {"schema": schema}}


def _reference(model: type[BaseModel]) -> Json:
    return {"$ref": _SCHEMA_REFERENCE.format(model=model.__name__)}


def _component_name(status: int) -> str:
    return HTTPStatus(status).phrase.replace(" ", "")
