"""Docstrings that are content, such as the descriptions of tools."""

from collections.abc import Callable
from typing import Any

from snapshot_mcp.core.errors import ConfigurationError


def read_docstring(documented: Callable[..., Any]) -> str:
    """Return the docstring of a function or class, also if Python was started with -OO.

    Python then removes docstrings, but not the source that contains them.

    Raises:
        ConfigurationError: neither the docstring nor the source exists.
    """
    return documented.__doc__ or _read_from_source(documented)


def _read_from_source(documented: Callable[..., Any]) -> str:
    import ast  # noqa: PLC0415 - only with -OO
    import inspect  # noqa: PLC0415 - likewise
    from textwrap import dedent  # noqa: PLC0415 - likewise

    try:
        definition = ast.parse(dedent(inspect.getsource(documented))).body[0]
    except OSError as error:
        raise ConfigurationError(
            "Python was started with -OO or PYTHONOPTIMIZE=2, which removes the descriptions of"
            " the tools.",
            "Start it without them.",
        ) from error
    is_documented = isinstance(definition, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)
    return (ast.get_docstring(definition) if is_documented else None) or ""
