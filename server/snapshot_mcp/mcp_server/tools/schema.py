"""JSON schemas of the tools: plain enough for every client, and short for the model."""

from typing import Any

from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import core_schema


class PlainSchema(GenerateJsonSchema):
    """Schemas without titles, `null` and `anyOf`, which some clients reject or strip.

    A field that may be None becomes an optional field: results leave it out.
    """

    def nullable_schema(self, schema: core_schema.NullableSchema) -> JsonSchemaValue:
        """Return the schema of the value itself."""
        return self.generate_inner(schema["schema"])

    def default_schema(self, schema: core_schema.WithDefaultSchema) -> JsonSchemaValue:
        """Return the schema with its default, unless the default only means "not given"."""
        if schema.get("default") is None:
            return self.generate_inner(schema["schema"])
        generated = super().default_schema(schema)
        default: object = generated.get("default")
        if isinstance(default, int) and default < generated.get("minimum", 0):
            generated.pop("default", None)
        return generated

    def encode_default(self, dft: object) -> object:
        """Return a plain default unchanged; pydantic would build a serializer for each."""
        return dft if isinstance(dft, str | int | float) else super().encode_default(dft)

    def model_schema(self, schema: core_schema.ModelSchema) -> JsonSchemaValue:
        """Return the schema without the name and the docstring, which are for programmers."""
        generated = super().model_schema(schema)
        return {key: generated[key] for key in generated if key not in ("title", "description")}

    def sort(self, value: JsonSchemaValue, parent_key: str | None = None) -> JsonSchemaValue:
        """Return the schema unsorted: its order is the same at every start."""
        del parent_key
        return value

    def field_title_should_be_set(self, schema: Any) -> bool:  # noqa: ANN401 - pydantic's signature
        """Return False: a title repeats the name."""
        del schema
        return False
