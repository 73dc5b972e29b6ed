"""The embedded cloud's own OpenAPI 3.1 document.

The app tells the calls that it serves; what each one takes and answers stands in `parts`, under
the name of its action, and the shapes of bodies in `envelopes`.
"""

from collections.abc import Callable, Iterable
from http import HTTPStatus
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue, models_json_schema
from pydantic_core import core_schema

from snapshot_mcp import __version__
from snapshot_mcp.sandbox.entities import Json
from snapshot_mcp.sandbox.errors import REASONS
from snapshot_mcp.sandbox.openapi.parts import PARAMETERS, PARTS, Part, links
from snapshot_mcp.sandbox.request import MAX_BODY_BYTES

# Method, path and action; the action's name and docstring go into the document.
Call = tuple[str, str, Callable[..., Any]]

_SCHEMA = "#/components/schemas/{model}"
_ABOUT = f"""The snapshots API of a cloud, embedded, on SQLite.

A body may have {MAX_BODY_BYTES} bytes, and text must be valid Unicode; anything else is a bad
request. HEAD is answered like GET. An unknown call is answered with 404, a known one with another
method with 405 and an `Allow` header; both bodies look like every other refusal."""
_LENGTH = {"Content-Length": {"$ref": "#/components/headers/Content-Length"}}


def document(calls: Iterable[Call]) -> Json:
    """The document for these calls, ready to be written as JSON."""
    paths: Json = {}
    for method, path, action in calls:
        part = PARTS[action.__name__]
        # `:path` says how the server reads the name, which is no concern of a caller.
        item = paths.setdefault(path.replace(":path}", "}"), {})
        item[method.lower()] = _operation(action, part)
    return {
        "openapi": "3.1.0",
        "info": {"title": "Embedded cloud", "version": __version__, "description": _ABOUT},
        "servers": [{"url": "/v1"}],
        "security": [{"api_key": []}],
        "paths": paths,
        "components": _components(),
    }


def _operation(action: Callable[..., Any], part: Part) -> Json:
    operation: Json = {
        "operationId": action.__name__,
        "summary": (action.__doc__ or "").partition("\n")[0].partition(" Source:")[0],
        "parameters": [{"$ref": f"#/components/parameters/{key}"} for key in part.parameters],
        "responses": {str(part.status): _success(part)},
    }
    for status in part.refusals:
        operation["responses"][str(status)] = {"$ref": f"#/components/responses/{_key(status)}"}
    if part.body:
        operation["requestBody"] = {"required": True, "content": _json(_reference(part.body))}
    if part.public:
        operation["security"] = []
    return operation


def _success(part: Part) -> Json:
    reply: Json = {
        "description": part.reply.__doc__ or "",
        "headers": _LENGTH,
        "content": _json(_reference(part.reply)),
    }
    return reply | ({"links": links(part.leads)} if part.leads else {})


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
        "responses": {_key(status): _refusal(status) for status in REASONS if status != _UNROUTED},
        "schemas": _schemas(),
    }


_UNROUTED = HTTPStatus.METHOD_NOT_ALLOWED  # the answer to no operation, so none refers to it


def _refusal(status: int) -> Json:
    fields: Json = {
        "status": {"const": False},
        "message": {"type": "string"},
        "error_reason": {"enum": REASONS[status]},
    }
    shape = {
        "type": "object",
        "properties": fields,
        "required": list(fields),
        "additionalProperties": False,
    }
    return {
        "description": HTTPStatus(status).phrase,
        "headers": _LENGTH,
        "content": _json(shape),
    }


def _schemas() -> Json:
    models = {model for part in PARTS.values() for model in (part.reply, part.body) if model}
    inputs = sorted(models, key=lambda model: model.__name__)
    _, found = models_json_schema(
        [(model, "validation") for model in inputs],
        ref_template=_SCHEMA,
        schema_generator=_Plain,
    )
    return found["$defs"]


class _Plain(GenerateJsonSchema):
    """Without titles, which repeat names, and defaults, which only mark what can be left out."""

    def field_title_should_be_set(self, schema: Any) -> bool:  # noqa: ANN401, ARG002 - as inherited
        return False

    def default_schema(self, schema: core_schema.WithDefaultSchema) -> JsonSchemaValue:
        return self.generate_inner(schema["schema"])


def _json(schema: Json) -> Json:
    return {"application/json": {"schema": schema}}


def _reference(model: type[BaseModel]) -> Json:
    return {"$ref": _SCHEMA.format(model=model.__name__)}


def _key(status: int) -> str:
    return HTTPStatus(status).phrase.replace(" ", "")
