"""Tool arguments from `key=value` words, converted as the tool's input schema says."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, cast

from snapshot_mcp.core.errors import ConfigurationError
from snapshot_mcp.core.sanitize import MAX_NAME_LENGTH, quoted, sanitize

_MAX_NUMBER_LENGTH = 18
_BOOLEANS = {"true": True, "yes": True, "false": False, "no": False}


def parse_arguments(schema: Mapping[str, Any], pairs: Iterable[str]) -> dict[str, object]:
    """Return the arguments that `pairs` give.

    Args:
        schema: the tool's input schema.
        pairs: `key=value` each; the items of a list are separated by commas.

    Raises:
        ConfigurationError: a pair has no `=`, its key is unknown or repeated, its value does not
            have the type in the schema, or a required argument is missing.
    """
    properties = cast("Mapping[str, Mapping[str, Any]]", schema.get("properties", {}))
    values: dict[str, object] = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals or name not in properties:
            shown = quoted(sanitize(name, MAX_NAME_LENGTH).text)
            raise ConfigurationError(
                f"{shown} is not an argument of this tool.",
                f"Give key=value. It takes: {', '.join(properties) or 'none'}.",
            )
        if name in values:
            raise ConfigurationError(f"{name} is given twice.", "Give it once.")
        values[name] = _parse_value(name, value, str(properties[name].get("type")))
    missing = [name for name in schema.get("required", ()) if name not in values]
    if missing:
        raise ConfigurationError(f"This tool needs {', '.join(missing)}.", "Give key=value.")
    return values


def _parse_value(name: str, text: str, json_type: str) -> object:
    try:
        return _PARSERS.get(json_type, str)(text)
    except (KeyError, ValueError) as error:
        raise ConfigurationError(f"{name} must be {_TYPE_NAMES[json_type]}.") from error


def _parse_integer(text: str) -> int:
    digits = text.removeprefix("-")
    if not (digits.isascii() and digits.isdigit() and len(digits) <= _MAX_NUMBER_LENGTH):
        raise ValueError(text)
    return int(text)


def _parse_list(text: str) -> list[str]:
    return [item.strip() for item in text.split(",")] if text else []


_PARSERS: Mapping[str, Callable[[str], object]] = {
    "integer": _parse_integer,
    "number": float,
    "boolean": lambda text: _BOOLEANS[text.lower()],
    "array": _parse_list,
}
_TYPE_NAMES = {"integer": "a whole number", "number": "a number", "boolean": "true or false"}
