"""Causes of failed connections, found in the chain of exceptions of the HTTP client.

The texts of the exceptions are not used, because they may contain addresses and remote text.
"""

import errno
import re
import socket
import ssl
from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Literal, NamedTuple, cast
from urllib.parse import urlsplit

import httpx

from snapshot_mcp.cloud.connection import find_proxy

Cause = Literal[
    "dns",
    "refused",
    "no_route",
    "connect_timeout",
    "no_answer",
    "self_signed",
    "unknown_authority",
    "expired",
    "not_yet_valid",
    "host_name",
    "certificate",
    "no_tls",
    "tls",
    "proxy_login",
    "proxy_refused",
    "no_http",
    "broken",
]

ConnectionFailure = httpx.HTTPError
"""Base class of the failures of the HTTP client."""

_DEFAULT_PORTS = {
    "https": 443,
    "socks5": 1080,
    "socks5h": 1080,
    "postgresql": 5432,
    "postgres": 5432,
}
_PROXY_LOGIN_STATUS = "407"
_STATUS = re.compile(r"[1-5][0-9]{2}\b")
_NO_TLS_REASONS = frozenset({"WRONG_VERSION_NUMBER", "HTTP_REQUEST", "RECORD_LAYER_FAILURE"})
_VERIFY_CODES: Mapping[int, Cause] = {
    9: "not_yet_valid",
    10: "expired",
    18: "self_signed",
    19: "unknown_authority",
    20: "unknown_authority",
    21: "unknown_authority",
    62: "host_name",
    64: "host_name",
}
"""Source: the constants X509_V_ERR_… in OpenSSL's x509_vfy.h."""

_ERROR_NUMBERS: Mapping[int, Cause] = {
    errno.ECONNREFUSED: "refused",
    errno.ENETUNREACH: "no_route",
    errno.EHOSTUNREACH: "no_route",
    errno.ETIMEDOUT: "connect_timeout",
}
_WORDS: Mapping[Cause, str] = {
    "dns": "the name cannot be resolved",
    "refused": "the port is closed",
    "no_route": "there is no route to it",
    "self_signed": "the certificate is self-signed",
    "unknown_authority": "the certificate is of an unknown authority",
    "expired": "the certificate has expired",
    "not_yet_valid": "the certificate is not valid yet",
    "host_name": "the certificate is for another host name",
    "certificate": "the certificate is not valid",
    "no_tls": "the port does not speak TLS",
    "tls": "the TLS handshake failed",
    "proxy_login": "the proxy requires a login",
    "proxy_refused": "the proxy refused it",
}
_REMEDIES: Mapping[Cause, str] = {
    "dns": "the name in {at} cannot be resolved; check {setting}, and the DNS of this machine",
    "refused": "{at} refuses connections: the port is closed; check the port in {setting}",
    "no_route": "there is no route to {at}; check the network, VPN and firewall of this machine",
    "connect_timeout": "{at} does not accept a connection in time; a firewall may drop it, check"
    " {setting}",
    "no_answer": "{target} accepts connections but does not answer in time; it may be overloaded,"
    " or {setting} names another service",
    "self_signed": "the certificate of {target} is self-signed, so it is not trusted; if it is"
    " yours, set SSL_CERT_FILE to a file with it",
    "unknown_authority": "the certificate of {target} is of an authority that is not trusted here;"
    " if it is your company's, set SSL_CERT_FILE to a file with the authority's certificate",
    "expired": "the certificate of {target} has expired; renew it there, or correct the clock of"
    " this machine",
    "not_yet_valid": "the certificate of {target} is not valid yet; correct the clock of this"
    " machine",
    "host_name": "the certificate of {target} is for another host name; check {setting}",
    "certificate": "the certificate of {target} is not valid; its operator must replace it",
    "no_tls": "{target} does not speak TLS; check the port in {setting}",
    "tls": "the TLS handshake with {target} failed; its versions of TLS may be too old",
    "proxy_login": "the proxy {proxy} requires a login (status 407); add user and password to its"
    " address in HTTPS_PROXY",
    "proxy_refused": "the proxy {proxy} does not connect to {host}{status}; allow it there, or add"
    " the host to NO_PROXY",
    "no_http": "{target} does not speak HTTP; check the port in {setting}",
    "broken": "{target} closed the connection before its answer was complete; try again, and check"
    " {setting}",
}
_BEFORE_PROXY = frozenset({"dns", "refused", "no_route", "connect_timeout"})
"""Causes that concern the proxy itself if one is used."""


class Destination(NamedTuple):
    """The destination of a connection, without credentials.

    Attributes:
        host: host and port.
        proxy: host and port of the proxy; empty if none is used.
        setting: name of the setting that contains the address.
    """

    host: str
    proxy: str
    setting: str


def find_destination(url: str, setting: str, error: Exception | None = None) -> Destination:
    """Return the host that is contacted for an address, and the proxy.

    Args:
        url: the address.
        setting: name of the setting that contains it.
        error: the failure of the request; it may have gone to another host, which metadata named.
    """
    if isinstance(error, httpx.RequestError):
        with suppress(RuntimeError):  # it has no request
            url = str(error.request.url)
    address = httpx.URL(url)
    # Plain HTTP is for loopback only, without a proxy.
    proxy = find_proxy(address) if address.scheme == "https" else None
    return Destination(host_and_port(url), host_and_port(proxy) if proxy else "", setting)


def host_and_port(address: str) -> str:
    """Return the host and port of an address, and nothing else; a question mark if unclear."""
    try:
        parts = urlsplit(address if "://" in address else f"http://{address}")
        host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname
        port = parts.port or _DEFAULT_PORTS.get(parts.scheme, 80)
    except ValueError:
        return "?"
    return f"{host}:{port}" if host else "?"


def find_cause(error: BaseException) -> Cause | None:
    """Return why no answer was received; None if an exception of the chain shows no cause."""
    causes: list[Cause] = []
    for found in _chain(error):
        cause = _cause_of(found)
        if cause is not None:
            causes.append(cause)
    # The innermost exception is the most precise one, but a time limit may have any reason.
    for cause in reversed(causes):
        if cause != "no_answer":
            return cause
    return causes[-1] if causes else None


def describe_cause(error: BaseException) -> str:
    """Return the cause as a clause, without an address; empty if it is unknown."""
    cause = find_cause(error)
    return _WORDS.get(cause, "") if cause else ""


def describe_remedy(error: BaseException, destination: Destination) -> str:
    """Return the cause with the address that was contacted and the next step; empty if unknown."""
    cause = find_cause(error)
    if cause is None:
        return ""
    is_proxy = bool(destination.proxy) and cause in _BEFORE_PROXY
    through = f" (through the proxy {destination.proxy})" if destination.proxy else ""
    status = _proxy_status(error)
    return _REMEDIES[cause].format(
        at=f"the proxy {destination.proxy}" if is_proxy else destination.host,
        setting="HTTPS_PROXY" if is_proxy else destination.setting,
        target=destination.host + through,
        host=destination.host,
        proxy=destination.proxy or "?",
        status=f" (status {status})" if status else "",
    )


def _chain(error: BaseException) -> Iterator[BaseException]:
    seen: set[int] = set()
    pending: list[BaseException | None] = [error]
    while pending:
        found = pending.pop()
        if found is None or id(found) in seen:
            continue
        seen.add(id(found))
        yield found
        if isinstance(found, BaseExceptionGroup):
            pending += cast("BaseExceptionGroup[BaseException]", found).exceptions
        pending.append(found.__cause__ or found.__context__)


def _cause_of(error: BaseException) -> Cause | None:
    match error:
        case socket.gaierror():
            return "dns"
        case ssl.SSLCertVerificationError():
            return _VERIFY_CODES.get(error.verify_code, "certificate")
        case ssl.SSLError():
            return "no_tls" if getattr(error, "reason", "") in _NO_TLS_REASONS else "tls"
        case TimeoutError() if not error.errno:
            return "no_answer"
        case OSError():
            return _ERROR_NUMBERS.get(error.errno or 0)
        case _:
            return _http_cause(error)


def _http_cause(error: BaseException) -> Cause | None:
    match error:
        case httpx.ProxyError():
            return "proxy_login" if _proxy_status(error) == _PROXY_LOGIN_STATUS else "proxy_refused"
        case httpx.ConnectTimeout():
            return "connect_timeout"
        case httpx.TimeoutException():
            return "no_answer"
        case httpx.RemoteProtocolError():
            return "broken" if "disconnected" in str(error) else "no_http"
        case httpx.ReadError() | httpx.WriteError():
            return "broken"
        case _:
            return None


def _proxy_status(error: BaseException) -> str:
    """Return the status with which a proxy refused; only its digits, because the rest is remote."""
    for found in _chain(error):
        if isinstance(found, httpx.ProxyError) and (match := _STATUS.match(str(found))):
            return match[0]
    return ""
