"""Validation of addresses, keys and installed packages for settings."""

import base64
import ipaddress
import re
import string
from urllib.parse import urlsplit

from pydantic import SecretBytes

from snapshot_mcp.core.errors import ConfigurationError

MIN_KEY_BYTES = 32


def validate_api_key(name: str, key: str) -> str:
    """Return `key` if an HTTP header can carry it.

    Raises:
        ConfigurationError: it contains a space, a control character or a non-ASCII character.
    """
    if any(character not in _HEADER_CHARACTERS for character in key):
        raise ConfigurationError(
            f"{name} contains a character that an API key cannot have (it is not shown here).",
            "Copy the key again, without quotes, spaces or line breaks.",
        )
    return key


_HEADER_CHARACTERS = frozenset(string.ascii_letters + string.digits + string.punctuation)


def parse_signing_key(name: str, value: str) -> SecretBytes:
    """Return the signing key that `value` holds in base64url.

    Raises:
        ConfigurationError: it is something else, or too short.
    """
    try:
        key = base64.b64decode(value + "=" * (-len(value) % 4), altchars=b"-_", validate=True)
    except ValueError:
        key = b""
    if len(key) < MIN_KEY_BYTES:
        raise ConfigurationError(
            f"{name} must be at least {MIN_KEY_BYTES} random bytes in base64url"
            " (it is not shown here).",
            "Create one with: openssl rand -base64 32 | tr '+/' '-_'",
        )
    return SecretBytes(key)


def validate_url(
    name: str,
    value: str,
    *,
    example: str,
    reason: str = "every call contains the API key",
) -> str:
    """Return `value` if it is an https address, or an http address of this machine.

    Args:
        name: name of the setting.
        value: value of the setting.
        example: a valid address, for the message.
        reason: why plain http is not enough, for the message.

    Raises:
        ConfigurationError: it is not an address, or is plain http to another machine.
    """
    try:
        parts = urlsplit(value)
        host, _ = parts.hostname, parts.port
    except ValueError:
        parts, host = urlsplit(""), None
    is_local_http = parts.scheme == "http" and host is not None and _is_loopback(host)
    has_extra_parts = parts.query or parts.fragment or parts.username is not None
    if not host or has_extra_parts or not _URL_CHARACTERS.fullmatch(value) or not _is_host(host):
        raise ConfigurationError(f"{name} must be an address such as {example}.")
    if parts.scheme != "https" and not is_local_http:
        raise ConfigurationError(
            f"{name} must begin with https://, because {reason}.",
            "Plain http:// is accepted for 127.0.0.1 and localhost only.",
        )
    return value


_URL_CHARACTERS = re.compile(r"[A-Za-z0-9.:/_~%\[\]-]+")
_HOST_LABEL = re.compile(r"(?!xn--)[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")


def _is_host(host: str) -> bool:
    if all(_HOST_LABEL.fullmatch(label) for label in host.split(".")):
        return True
    try:
        return bool(ipaddress.ip_address(host))
    except ValueError:
        return False


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def validate_otlp_endpoint(name: str, value: str) -> None:
    """Check that spans can be sent to an address; an empty one is not checked.

    Raises:
        ConfigurationError: it is not an http or https address; the message does not show it.
    """
    if not value.strip():
        return
    try:
        parts = urlsplit(value.strip())
        is_valid = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        is_valid = False
    if not is_valid:
        raise ConfigurationError(
            f"{name} must be an address such as http://collector.example:4318."
        )


def require_extra(name: str, *modules: str, install: str = "snapshot-mcp[service]") -> None:
    """Check that the modules that a setting needs are installed.

    Args:
        name: name of the setting.
        modules: the modules.
        install: the requirement that installs them.

    Raises:
        ConfigurationError: one of them is not installed.
    """
    from importlib.util import find_spec  # noqa: PLC0415 - only used by the service

    def is_missing(module: str) -> bool:
        try:
            return find_spec(module) is None
        except ModuleNotFoundError:  # its parent package is missing
            return True

    if any(map(is_missing, modules)):
        raise ConfigurationError(
            f"{name} needs packages that are not installed.",
            f"Install them with: pip install '{install}'",
        )
