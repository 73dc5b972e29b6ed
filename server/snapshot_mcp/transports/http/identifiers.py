"""Identifiers of issuers, audiences and resources, which are usually addresses."""

import re

_ADDRESS = re.compile(
    r"(?P<scheme>https?)://(?P<host>[a-z0-9._~-]+|\[[0-9a-f:.]+\])(?::(?P<port>[0-9]+))?"
    r"(?P<path>/[\x21-\x7e]*)?",
    re.ASCII | re.IGNORECASE,
)
_DEFAULT_PORTS = {"http": "80", "https": "443"}


def canonical_identifier(text: str) -> str:
    """Return the same text for all spellings of one address, and any other text unchanged.

    Scheme and host have no case, the default port can be omitted, and the path of the root is empty
    or a slash. Everything else is exact, including a slash at the end of another path.

    Source: RFC 3986, 6.2.2.1 and 6.2.3.
    """
    match = _ADDRESS.fullmatch(text)
    if match is None:
        return text
    scheme, path = match["scheme"].lower(), match["path"] or ""
    has_port = match["port"] and match["port"] != _DEFAULT_PORTS[scheme]
    port = f":{match['port']}" if has_port else ""
    return f"{scheme}://{match['host'].lower()}{port}{'' if path == '/' else path}"
