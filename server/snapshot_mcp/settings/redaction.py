"""Remove credentials from addresses and other values before they are printed."""

import re
from collections.abc import Mapping

from snapshot_mcp.settings.raw_values import clean_value
from snapshot_mcp.settings.reference import SETTINGS

HIDDEN = "(hidden)"
_MIN_SECRET_LENGTH = 4
_PATH = re.compile(r"[/\\~]|[A-Za-z]:\\")
_USER = re.compile(r"^([A-Za-z][A-Za-z0-9+.-]*:/*|/*)?.*@", re.DOTALL)
_QUERY = re.compile(r"[?#].*", re.DOTALL)
_UUID = re.compile(r"[0-9A-Fa-f]{8}(-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}")
_TOKEN = re.compile(
    r"(?=[^/]*[0-9])(?=[^/]*[A-Za-z])[A-Za-z0-9_~+=%-]{20,}|[A-Za-z0-9_~+=-]{32,}|eyJ[\w.=-]+"
)


def redact_address(address: str, *, show_uuids: bool = False) -> str:
    """Return an address without user, password, query, fragment, and segments that look random.

    A path of a file is returned as it is.

    Args:
        address: an address, valid or not, or another value.
        show_uuids: whether a UUID, such as the id of a tenant, is public.
    """
    if _PATH.match(address):
        return address
    without_user = _USER.sub(rf"\g<1>{HIDDEN}@", address)
    plain = _QUERY.sub("", without_user)
    scheme, separator, rest = plain.rpartition("://")
    host, *segments = rest.split("/")
    checked = segments if separator else [host, *segments]
    shown = [
        HIDDEN if _TOKEN.fullmatch(part) and not (show_uuids and _UUID.fullmatch(part)) else part
        for part in checked
    ]
    query = "" if plain == without_user else f"?{HIDDEN}"
    return scheme + separator + "/".join([host, *shown] if separator else shown) + query


def redact_setting(name: str, environment: Mapping[str, str]) -> str:
    """Return the value of a setting that is not secret, without credentials in it."""
    value = clean_value(environment[name])
    if name.endswith(("_URL", "_ISSUER", "_ENDPOINT")) and "://" not in value:
        return HIDDEN  # not an address: perhaps a key in the wrong place
    for secret in secret_values(environment):
        value = value.replace(secret, HIDDEN)
    return redact_address(value, show_uuids=name.startswith("SNAPSHOT_MCP_AUTH_"))


def secret_values(environment: Mapping[str, str]) -> list[str]:
    """Return the values of all secret settings that are long enough to be recognized."""
    names = (name for setting in SETTINGS if setting.secret for name in setting.names)
    values = (clean_value(environment.get(name, "")) for name in names)
    return [value for value in values if len(value) >= _MIN_SECRET_LENGTH]
