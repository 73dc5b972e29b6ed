"""Names and raw values of settings.

An unknown name stops the start, because a misspelt limit would not apply.
"""

import re
from collections.abc import Iterator, Mapping

from snapshot_mcp.core.errors import ConfigurationError
from snapshot_mcp.core.sanitize import sanitize
from snapshot_mcp.settings.raw_values import check_resolved, check_secret, clean_value
from snapshot_mcp.settings.reference import SETTINGS

SETTING_NAMES = frozenset(name for setting in SETTINGS for name in setting.names)
_PREFIXES = ("SNAPSHOT_MCP_", "HYPERSTACK_")
_DATABASE_URL = "SNAPSHOT_MCP_DATABASE_URL"
_MAX_NAME_LENGTH = 60
_MAX_NAMES = 3
_MIN_SIMILARITY = 0.5
# Patterns are strings: they are compiled for names that may match, not at every start.
_FIRST_WORD = "SNAPSHOT"
_PREFIX = r"(?i)SNAPSHOTS?[_-]?MCP[_-]"
_INJECTED = (
    r"[A-Z0-9_]+_(SERVICE_HOST|SERVICE_PORT(_[A-Z0-9_]+)?"
    r"|PORT(_[0-9]+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)?)"
)
"""Variables that Kubernetes adds to each pod for a service, such as one called "snapshot-mcp".

Source: https://kubernetes.io/docs/concepts/services-networking/service/#environment-variables
"""
_TEST_NAMES = frozenset({"SNAPSHOT_MCP_ARTIFACTS", "SNAPSHOT_MCP_SERVICE_CALLS"})
"""Options of this project's tests, which a server that they start may inherit."""


def read_values(environment: Mapping[str, str], *names: str) -> dict[str, str]:
    """Return the environment with the values of settings cleaned, after checking all names.

    Args:
        environment: names and values, as in `os.environ`.
        names: the settings whose values are checked; by default all.

    Raises:
        ConfigurationError: a name is unknown, or a value contains an unresolved reference.
    """
    check_names(environment)
    values = dict(environment)
    for setting in SETTINGS:
        for name in setting.names:
            if name not in values or (names and name not in names):
                continue
            if not name.startswith(_PREFIXES):
                check_resolved(name, values[name])  # OpenTelemetry reads it as it is
                continue
            values[name] = clean_value(values[name])
            check = check_secret if setting.secret and name != _DATABASE_URL else check_resolved
            check(name, values[name])
    return values


def check_names(environment: Mapping[str, str]) -> None:
    """Check that every variable that looks like a setting of this server is one.

    Raises:
        ConfigurationError: a name is unknown; the message names the closest one.
    """
    first, *others = [*unknown_names(environment)] or [""]
    if first:
        more = f" Other unknown names: {', '.join(others[:_MAX_NAMES])}." if others else ""
        raise ConfigurationError(describe_unknown_name(first), f"Correct or unset it.{more}")


def unknown_names(environment: Mapping[str, str]) -> Iterator[str]:
    """Yield the names that look like settings of this server but are none, sanitized.

    Variables without a value, those that Kubernetes adds, and those of the tests are skipped.
    """
    for name in sorted(environment):
        if (
            name not in SETTING_NAMES
            and name not in _TEST_NAMES
            and looks_like_setting(name)
            and not re.fullmatch(_INJECTED, name)
            and clean_value(environment[name])
        ):
            yield sanitize(name, _MAX_NAME_LENGTH).text


def looks_like_setting(name: str) -> bool:
    """Return whether a name begins with the prefix of the settings, or almost so."""
    return name[: len(_FIRST_WORD)].upper() == _FIRST_WORD and bool(re.match(_PREFIX, name))


def unused_ports(environment: Mapping[str, str]) -> Iterator[str]:
    """Yield the names that Kubernetes uses, but with a value that a person set: a port number."""
    for name in sorted(environment):
        if (
            looks_like_setting(name)
            and re.fullmatch(_INJECTED, name)
            and name.endswith("_PORT")
            and not name.endswith("_SERVICE_PORT")
            and environment[name].strip().isdigit()
        ):
            yield sanitize(name, _MAX_NAME_LENGTH).text


def describe_unknown_name(name: str) -> str:
    """Return a sentence that says that there is no such setting, and names the closest one."""
    from difflib import get_close_matches  # noqa: PLC0415 - only for an error

    endings = {_ending(known): known for known in sorted(SETTING_NAMES, reverse=True)}
    matches = get_close_matches(_ending(name), endings, 1, _MIN_SIMILARITY)
    if matches:
        return f"{name} is not a setting of this server; the closest is {endings[matches[0]]}."
    return f"{name} is not a setting of this server; `snapshot-mcp doctor` lists all of them."


def _ending(name: str) -> str:
    return re.sub(_PREFIX, "", name, count=1).upper()
