"""JSON schemas that every client accepts, and that cost a model few tokens."""

from typing import Any

from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import core_schema


class PlainSchema(GenerateJsonSchema):
    """Schemas without titles and without `null`.

    A field that may be None is one that may be left out: answers leave it out, and some clients
    reject or strip `anyOf` in tool schemas.
    """

    def nullable_schema(self, schema: core_schema.NullableSchema) -> JsonSchemaValue:
        """The schema of the value itself."""
        return self.generate_inner(schema["schema"])

    def default_schema(self, schema: core_schema.WithDefaultSchema) -> JsonSchemaValue:
        """The default, unless it only stands for "not given"."""
        if schema.get("default") is None:
            return self.generate_inner(schema["schema"])
        generated = super().default_schema(schema)
        default: object = generated.get("default")
        if isinstance(default, int) and default < generated.get("minimum", 0):
            generated.pop("default", None)
        return generated

    def encode_default(self, dft: object) -> object:
        """The default as it is, where it is plain; pydantic would build a serializer for each."""
        return dft if isinstance(dft, str | int | float) else super().encode_default(dft)

    def model_schema(self, schema: core_schema.ModelSchema) -> JsonSchemaValue:
        """The model's fields; its name and docstring are for programmers."""
        generated = super().model_schema(schema)
        return {key: generated[key] for key in generated if key not in ("title", "description")}

    def sort(self, value: JsonSchemaValue, parent_key: str | None = None) -> JsonSchemaValue:
        """As it was made, which is the same at every start."""
        del parent_key
        return value

    def field_title_should_be_set(self, schema: Any) -> bool:  # noqa: ANN401 - pydantic's signature
        """Never: a title repeats the name."""
        del schema
        return False
