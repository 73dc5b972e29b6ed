"""The issuer's public keys: fetched when a token first needs one, cached, and refreshed."""

import json
import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, cast
from urllib.parse import urlsplit

import anyio
import httpx

from snapshot_mcp import __version__
from snapshot_mcp.core.errors import ConfigurationError, ProtocolError
from snapshot_mcp.settings.environment import DEFAULT_API_URL
from snapshot_mcp.settings.validation import validate_url

KEYS_TTL_SECONDS = 300.0
"""Seconds for which keys are used without a refresh. A revoked key is rejected after that."""

MIN_FETCH_INTERVAL_SECONDS = 10.0
"""Minimum seconds between two fetches, regardless of the tokens that arrive."""

FETCH_TIMEOUT_SECONDS = 5.0
MAX_RESPONSE_BYTES = 256 * 1024
_OK = 200

Jwk = Mapping[str, Any]
FetchKeys = Callable[[], Awaitable[Mapping[str, Jwk]]]

logger = logging.getLogger(__name__)


class KeysUnavailableError(Exception):
    """The issuer did not respond, so a token can be neither accepted nor rejected."""


class KeySet:
    """The cached keys of one issuer.

    Args:
        fetch_keys: returns all keys by their ids.
        monotonic: returns seconds that never decrease.
    """

    def __init__(self, fetch_keys: FetchKeys, monotonic: Callable[[], float]) -> None:
        self._fetch_keys = fetch_keys
        self._monotonic = monotonic
        self._keys: Mapping[str, Jwk] = {}
        self._fetched_at = self._attempted_at = float("-inf")
        self._refresh_lock = anyio.Lock()

    async def find_key(self, kid: str) -> Jwk | None:
        """Return the key with this id; None if the issuer has no such key.

        Known keys stay in use while the issuer does not respond.

        Raises:
            KeysUnavailableError: The key is not known, and the issuer did not respond.
        """
        key = self._keys.get(kid)
        if key is not None and (self._is_fresh or self._refresh_lock.locked()):
            return key
        async with self._refresh_lock:
            is_unknown = kid not in self._keys
            if (is_unknown or not self._is_fresh) and self._may_fetch:
                await self._refresh()
        if kid not in self._keys and self._fetched_at < self._attempted_at:
            raise KeysUnavailableError
        return self._keys.get(kid)

    @property
    def _is_fresh(self) -> bool:
        return self._monotonic() - self._fetched_at < KEYS_TTL_SECONDS

    @property
    def _may_fetch(self) -> bool:
        return self._monotonic() - self._attempted_at >= MIN_FETCH_INTERVAL_SECONDS

    async def _refresh(self) -> None:
        self._attempted_at = self._monotonic()
        try:
            with anyio.fail_after(2 * FETCH_TIMEOUT_SECONDS):
                self._keys = await self._fetch_keys()
        except (httpx.HTTPError, httpx.InvalidURL, ProtocolError, TimeoutError) as error:
            logger.warning("the issuer's keys could not be fetched (%s)", type(error).__name__)
        else:
            self._fetched_at = self._attempted_at


class JwksClient:
    """HTTP client for the keys of one issuer.

    Args:
        issuer: the issuer, exactly as its tokens name it.
        jwks_url: the address of its keys; None: the address in its metadata.
    """

    def __init__(self, issuer: str, jwks_url: str | None) -> None:
        self._issuer = issuer
        self._jwks_url = jwks_url

    async def fetch_keys(self) -> Mapping[str, Jwk]:
        """Return all current signing keys, by their ids.

        Raises:
            httpx.HTTPError: The issuer does not respond.
            ProtocolError: The response is not valid.
        """
        headers = {"accept": "application/json", "user-agent": f"snapshot-mcp/{__version__}"}
        # Requests to an issuer on this machine must not use a proxy.
        is_remote = self._issuer.startswith("https:")
        async with httpx.AsyncClient(
            timeout=FETCH_TIMEOUT_SECONDS, headers=headers, trust_env=is_remote
        ) as client:
            url = self._jwks_url or await self._discover_jwks_url(client)
            entries = (await _get_json(client, url)).get("keys")
        if not isinstance(entries, list):
            raise ProtocolError("The issuer's keys are not a JWK set.")
        keys = [
            cast("Jwk", entry) for entry in cast("list[object]", entries) if isinstance(entry, dict)
        ]
        return {str(key["kid"]): key for key in keys if "kid" in key and key.get("use") != "enc"}

    async def _discover_jwks_url(self, client: httpx.AsyncClient) -> str:
        for url in _metadata_urls(self._issuer):
            try:
                metadata = await _get_json(client, url)
            except ProtocolError:
                continue
            # Source: RFC 8414, 3.3: metadata of another issuer must not be used.
            if metadata.get("issuer") == self._issuer:
                return _validate_jwks_url(str(metadata.get("jwks_uri", "")))
        raise ProtocolError("The issuer has no metadata with the address of its keys.")


def _metadata_urls(issuer: str) -> tuple[str, ...]:
    parts = urlsplit(issuer)
    origin, path = f"{parts.scheme}://{parts.netloc}", parts.path.rstrip("/")
    return (
        f"{origin}/.well-known/oauth-authorization-server{path}",
        f"{origin}{path}/.well-known/openid-configuration",
    )


def _validate_jwks_url(url: str) -> str:
    try:
        reason = "its keys decide which tokens are trusted"
        return validate_url("jwks_uri", url, example=DEFAULT_API_URL, reason=reason)
    except ConfigurationError as error:
        raise ProtocolError("The address of keys in the issuer's metadata is not valid.") from error


async def _get_json(client: httpx.AsyncClient, url: str) -> Mapping[str, Any]:
    async with client.stream("GET", url) as response:
        body = b""
        async for chunk in response.aiter_bytes():
            body += chunk
            if len(body) > MAX_RESPONSE_BYTES:
                raise ProtocolError("The issuer's response is too long.")
    try:
        decoded: object = json.loads(body) if response.status_code == _OK else None
    except (ValueError, RecursionError):
        decoded = None
    if not isinstance(decoded, dict):
        raise ProtocolError("The issuer's response is not a JSON object.")
    return cast("Mapping[str, Any]", decoded)
