"""Messages for values that a pydantic model rejects.

Pydantic's own messages may repeat the rejected value, which can hold a secret or text that other
people wrote. These never do.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

UNKNOWN_FIELD = "extra_forbidden"
"""Type of the error for a name that the model does not have. Callers word it themselves."""

_MESSAGES = {
    "missing": "is missing",
    "int_type": "must be a whole number",
    "greater_than_equal": "must be at least {ge}",
    "less_than_equal": "must be at most {le}",
    "string_type": "must be text",
    "string_too_short": "must not be empty",
    "string_too_long": "must have at most {max_length} characters",
    "string_pattern_mismatch": "must match {pattern}",
    "bool_type": "must be true or false",
    "list_type": "must be a list",
    "tuple_type": "must be a list",
    "too_long": "must have at most {max_length} entries",
    "literal_error": "must be one of {expected}",
    "model_type": "must be a table",
    "value_error": "{error}",
}


def describe_error(error: "ErrorDetails") -> str:
    """Return what the rejected value must be, to follow the name of the field."""
    return _MESSAGES.get(error["type"], "is not valid").format_map(error.get("ctx", {}))
