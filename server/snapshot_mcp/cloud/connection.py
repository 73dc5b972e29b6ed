"""The way to one cloud: its address, what every request carries, and the pooled transport.

It is httpx's transport without its client. What the client adds - cookies, redirects, flows of
authentication - is nothing that the API of one address needs or the key may travel by, and takes a
good part of the time of a request.
"""

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


class Connection:
    """One cloud. Entered, its connections are kept; left, they are closed.

    Args:
        transport: sends requests.
        url: the API's base address.
        key: the API key.
        timeout: seconds for each of read, write and the wait for a free connection; half of it to
            connect.

    Raises:
        ValueError: the key cannot be sent.
    """

    def __init__(
        self, transport: httpx.AsyncBaseTransport, base_url: str, api_key: str, timeout: float
    ) -> None:
        self._transport = transport
        self._base_url = base_url.rstrip("/")
        # The same lists are read again and again.
        self._build_get = lru_cache(_MAX_CACHED_REQUESTS)(partial(self._build_request, "GET"))
        self._headers = httpx.Headers(
            {
                "api_key": api_key,
                "accept": "application/json",
                # A few kilobytes of nested compression inflate to gigabytes.
                "accept-encoding": "identity",
                "user-agent": f"snapshot-mcp/{__version__}",
            }
        )
        # A connection that is not made in half the time of a call is told as such: then it is
        # certain that nothing was sent.
        limits = httpx.Timeout(timeout, connect=timeout / 2)
        self._extensions = {"timeout": limits.as_dict()}

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
        """Send one request; its answer, of which the body is still on its way.

        Args:
            method: the method of HTTP.
            path: below the base address.
            params: the query.
            body: what is sent as JSON.

        Raises:
            httpx.TransportError: there is no answer.
        """
        # A whole address is parsed once; a path and a query by themselves, three times.
        address = f"{self._base_url}{path}?{urlencode(params)}" if params else self._base_url + path
        request = (
            self._build_get(address)
            if method == "GET"
            else self._build_request(method, address, body)
        )
        response = await self._transport.handle_async_request(request)
        try:
            yield response
        finally:
            await response.aclose()

    def _build_request(
        self, method: str, address: str, body: JsonBody | None = None
    ) -> httpx.Request:
        return httpx.Request(
            method, address, headers=self._headers, json=body, extensions=self._extensions
        )


def create_network_transport(url: str) -> httpx.AsyncBaseTransport:
    """The way through the network to `url`, by the proxy and certificates of the environment.

    Raises:
        ConfigError: what the environment names cannot be used.
    """
    # Plain http is for this machine: a proxy would read the key.
    far = url.startswith("https:")
    try:
        return httpx.AsyncHTTPTransport(
            proxy=_proxy_of(httpx.URL(url).host) if far else None,
            trust_env=far,
            limits=httpx.Limits(max_connections=MAX_CONNECTIONS),
        )
    except (ImportError, OSError, ValueError, httpx.InvalidURL) as error:
        raise ConfigurationError(
            f"The HTTP client cannot be set up ({type(error).__name__}).",
            "Check the proxy and certificate settings of the environment (HTTPS_PROXY, ALL_PROXY,"
            " NO_PROXY, SSL_CERT_FILE), and restart the server.",
        ) from error


def _proxy_of(host: str) -> str | None:
    if proxy_bypass(host):
        return None
    proxies = getproxies()
    proxy = proxies.get("https") or proxies.get("all")
    return proxy if proxy is None or "://" in proxy else f"http://{proxy}"
