"""`key=value` from a command line as the arguments of a tool, by the tool's own schema."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, cast

from snapshot_mcp.core.errors import ConfigurationError
from snapshot_mcp.core.sanitize import MAX_NAME_LENGTH, quoted, sanitize

_MAX_NUMBER_LENGTH = 18
_SWITCH = {"true": True, "yes": True, "false": False, "no": False}


def read_values(schema: Mapping[str, Any], pairs: Iterable[str]) -> dict[str, object]:
    """The arguments that `pairs` name.

    Args:
        schema: the tool's input schema.
        pairs: `key=value` each; the values of a list stand between commas.

    Raises:
        ConfigError: a pair is none, names no argument, comes twice, or its value does not fit.
    """
    properties = cast("Mapping[str, Mapping[str, Any]]", schema.get("properties", {}))
    values: dict[str, object] = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals or name not in properties:
            shown = quoted(sanitize(name, MAX_NAME_LENGTH).text)
            raise ConfigurationError(
                f"{shown} is no argument of this tool (key=value).",
                f"It takes: {', '.join(properties) or 'none'}.",
            )
        if name in values:
            raise ConfigurationError(f"{name} is given twice.")
        values[name] = _value(name, value, str(properties[name].get("type")))
    missing = [name for name in schema.get("required", ()) if name not in values]
    if missing:
        raise ConfigurationError(f"This tool needs {', '.join(missing)}.", "Give key=value.")
    return values


def _value(name: str, text: str, kind: str) -> object:
    try:
        return _READERS.get(kind, str)(text)
    except (KeyError, ValueError) as error:
        raise ConfigurationError(f"{name} must be {_TOLD[kind]}.") from error


def _integer(text: str) -> int:
    digits = text.removeprefix("-")
    if not (digits.isascii() and digits.isdigit() and len(digits) <= _MAX_NUMBER_LENGTH):
        raise ValueError(text)
    return int(text)


def _list(text: str) -> list[str]:
    return [it.strip() for it in text.split(",")] if text else []


_READERS: Mapping[str, Callable[[str], object]] = {
    "integer": _integer,
    "number": float,
    "boolean": lambda text: _SWITCH[text.lower()],
    "array": _list,
}
_TOLD = {"integer": "a whole number", "number": "a number", "boolean": "true or false"}
