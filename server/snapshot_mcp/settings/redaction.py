"""Remove credentials from addresses and other values before they are printed."""

import re
from urllib.parse import urlsplit

HIDDEN = "(hidden)"
_USER = re.compile(r"(?<=//)[^/\s@]*@|^[^/\s@]+:[^/\s@]*@")
_QUERY = re.compile(r"[?#].*", re.DOTALL)
_TOKEN = re.compile(r"(?=[^/]*[0-9])(?=[^/]*[A-Za-z])[A-Za-z0-9_~.+=%-]{20,}|[A-Za-z0-9_~+=-]{32,}")


def redact_address(address: str) -> str:
    """Return an address without user, password, query, fragment, and long random path segments.

    Any other text is returned without what looks like them.
    """
    if "://" not in address and "@" not in address:
        return address
    plain = _QUERY.sub(f"?{HIDDEN}", _USER.sub(f"{HIDDEN}@", address))
    scheme, separator, rest = plain.partition("://")
    host, *segments = rest.split("/")
    shown = [HIDDEN if _TOKEN.fullmatch(segment) else segment for segment in segments]
    return scheme + separator + "/".join([host, *shown])


def host_and_port(address: str) -> str:
    """Return the host and port of an address, without anything else; a question mark if unclear."""
    try:
        parts = urlsplit(address if "://" in address else f"http://{address}")
        host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname
        port = parts.port or {"https": 443, "socks5": 1080, "socks5h": 1080}.get(parts.scheme, 80)
    except ValueError:
        return "?"
    return f"{host}:{port}" if host else "?"
