"""Connection to one cloud: base URL, headers and a pool of connections.

This uses httpx's transport without its client. The API needs none of the features that the client
adds: cookies, redirects (which could send the key elsewhere) and authentication flows. They would
take a large part of the time of a request.
"""

import ipaddress
import re
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from functools import lru_cache, partial
from types import TracebackType
from typing import Self
from urllib.parse import urlencode
from urllib.request import getproxies, proxy_bypass

import httpx

from snapshot_mcp import __version__
from snapshot_mcp.core.errors import ConfigurationError

JsonBody = Mapping[str, str | int | list[str]]

MAX_CONNECTIONS = 10
_MAX_CACHED_REQUESTS = 256
_HTTPS_PORT = 443
_ENTRY_WITH_PORT = re.compile(r"(?P<name>\[[^\]]+\]|[^:\[\]]+):(?P<port>[0-9]{1,5})")
"""An entry of NO_PROXY with a port. An IPv6 address needs brackets to have one."""


class Connection:
    """One cloud. A context manager that closes its connections when it exits.

    Args:
        transport: sends requests.
        base_url: the API's base URL.
        api_key: the API key.
        timeout: seconds for each read, each write and the wait for a free connection; connecting
            gets half of it.

    Raises:
        ValueError: the key contains characters that a header cannot contain.
    """

    def __init__(
        self, transport: httpx.AsyncBaseTransport, base_url: str, api_key: str, timeout: float
    ) -> None:
        self._transport = transport
        self._base_url = base_url.rstrip("/")
        # The same lists are read repeatedly, so the requests are built once.
        self._build_get = lru_cache(_MAX_CACHED_REQUESTS)(partial(self._build_request, "GET"))
        self._headers = httpx.Headers(
            {
                "api_key": api_key,
                "accept": "application/json",
                # A few kilobytes of nested compression can inflate to gigabytes.
                "accept-encoding": "identity",
                "user-agent": f"snapshot-mcp/{__version__}",
            }
        )
        # Half of the timeout for connecting: this failure then happens before the timeout of the
        # call, and proves that nothing was sent.
        timeouts = httpx.Timeout(timeout, connect=timeout / 2)
        self._extensions = {"timeout": timeouts.as_dict()}

    async def __aenter__(self) -> Self:
        await self._transport.__aenter__()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self._transport.__aexit__(kind, error, traceback)

    @asynccontextmanager
    async def stream(
        self,
        method: str,
        path: str,
        params: Mapping[str, str | int] | None = None,
        body: JsonBody | None = None,
    ) -> AsyncGenerator[httpx.Response]:
        """Send one request, and yield its response before the body is read.

        Args:
            method: the HTTP method.
            path: relative to the base URL.
            params: the query parameters.
            body: sent as JSON.

        Raises:
            httpx.TransportError: there is no response.
        """
        # httpx parses one full URL once, but a path with separate parameters three times.
        url = f"{self._base_url}{path}?{urlencode(params)}" if params else self._base_url + path
        if method == "GET":
            request = self._build_get(url)
        else:
            request = self._build_request(method, url, body)
        response = await self._transport.handle_async_request(request)
        try:
            yield response
        finally:
            await response.aclose()

    def _build_request(self, method: str, url: str, body: JsonBody | None = None) -> httpx.Request:
        return httpx.Request(
            method, url, headers=self._headers, json=body, extensions=self._extensions
        )


def create_network_transport(url: str) -> httpx.AsyncBaseTransport:
    """Return a transport to the host of `url` that uses the environment's proxy and certificates.

    Raises:
        ConfigurationError: the environment's settings cannot be used.
    """
    try:
        address = httpx.URL(url)
        # Plain HTTP is for loopback only: a proxy could read the key.
        is_remote = address.scheme == "https"
        return httpx.AsyncHTTPTransport(
            proxy=find_proxy(address) if is_remote else None,
            trust_env=is_remote,
            limits=httpx.Limits(max_connections=MAX_CONNECTIONS),
        )
    except (ImportError, OSError, ValueError, httpx.InvalidURL) as error:
        raise ConfigurationError(
            f"The HTTP client cannot be set up ({type(error).__name__}).",
            "Check the proxy and certificate settings of the environment (HTTPS_PROXY, ALL_PROXY,"
            " NO_PROXY, SSL_CERT_FILE), and restart the server.",
        ) from error


def find_proxy(address: httpx.URL) -> str | None:
    """Return the proxy of the environment for an https address; None for a direct connection."""
    # httpx's mounts choose a proxy for each request, exist only in its client, and reject ranges of
    # IPv6 addresses in NO_PROXY. A transport has one host, so the rules are applied once.
    proxies = getproxies()
    port = address.port or _HTTPS_PORT
    entries = re.split(r"[\s,]+", proxies.get("no", "").lower())
    if any(is_excluded(address.host, port, entry) for entry in entries if entry):
        return None
    # The standard library knows the exceptions in the system settings of Windows and macOS.
    if proxy_bypass(address.host):
        return None
    proxy = proxies.get("https") or proxies.get("all")
    return f"http://{proxy}" if proxy and "://" not in proxy else proxy


def is_excluded(host: str, port: int, entry: str) -> bool:
    """Return whether an entry of NO_PROXY names the host: `*`, a name, an address, or a range.

    A name includes its subdomains. Names are not resolved, so a range matches only addresses.

    Args:
        host: a name or an address, in lower case.
        port: the port of the connection.
        entry: the entry, in lower case.
    """
    match = _ENTRY_WITH_PORT.fullmatch(entry)
    if match is not None:
        if int(match["port"]) != port:
            return False
        entry = match["name"]
    if entry == "*":
        return True
    try:
        network = ipaddress.ip_network(re.sub(r"[\[\]]", "", entry), strict=False)
        return ipaddress.ip_address(host) in network
    except ValueError:  # one of them is a name
        name, domain = host.rstrip("."), entry.removeprefix("*").strip(".")
        return bool(domain) and (name == domain or name.endswith(f".{domain}"))
