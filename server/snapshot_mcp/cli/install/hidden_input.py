"""Read a secret without showing it: from the environment, a terminal without echo, or a pipe."""

import getpass
import os
import sys
import warnings

from snapshot_mcp.core.errors import NOTHING_CHANGED, ConfigurationError

_MAX_LENGTH = 4_096


def read_hidden_value(name: str) -> str:
    """Return the value of a variable; empty if there is none.

    It is read from the environment, else from the terminal, else from one line of stdin.

    Raises:
        ConfigurationError: the terminal would show it.
    """
    if value := os.environ.get(name, "").strip():
        return value
    if sys.stdin is None:  # pyright: ignore[reportUnnecessaryComparison] - closed
        return ""
    try:
        if sys.stdin.isatty():
            return _ask(name)
        return sys.stdin.readline(_MAX_LENGTH).strip()
    except (EOFError, OSError, ValueError):
        return ""


def _ask(name: str) -> str:
    with warnings.catch_warnings():
        warnings.simplefilter("error", getpass.GetPassWarning)
        try:
            return getpass.getpass(f"{name} (not shown): ", stream=sys.stderr).strip()
        except getpass.GetPassWarning as warning:
            raise ConfigurationError(
                f"This terminal would show {name}.",
                f"{NOTHING_CHANGED} Pass it through a pipe, or set the variable {name}.",
            ) from warning
