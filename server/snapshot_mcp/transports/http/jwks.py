"""The issuer's public keys: fetched when a token first needs one, cached, and refreshed."""

import json
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, cast
from urllib.parse import urlsplit

import anyio
import httpx

from snapshot_mcp import __version__
from snapshot_mcp.cloud.connection import create_network_transport
from snapshot_mcp.core.errors import ConfigurationError, ProtocolError, error_kind
from snapshot_mcp.settings.reference import DEFAULT_API_URL
from snapshot_mcp.settings.validation import validate_url
from snapshot_mcp.transports.http.identifiers import canonical_identifier

KEYS_TTL_SECONDS = 300.0
"""Seconds for which keys are used without a refresh. A revoked key is rejected after that."""

MIN_FETCH_INTERVAL_SECONDS = 10.0
"""Minimum seconds between two fetches, regardless of the tokens that arrive."""

FETCH_TIMEOUT_SECONDS = 5.0
MAX_RESPONSE_BYTES = 256 * 1024
_OK = 200
_HEADERS = {
    "accept": "application/json",
    # Compressed, a short response could exceed the limit before it is counted.
    "accept-encoding": "identity",
    "user-agent": f"snapshot-mcp/{__version__}",
}

Jwk = Mapping[str, Any]
FetchKeys = Callable[[], Awaitable[Sequence[Jwk]]]

logger = logging.getLogger(__name__)


class KeysUnavailableError(Exception):
    """The keys could not be fetched, so a token can be neither accepted nor rejected."""


class KeySet:
    """The cached keys of one issuer.

    Args:
        fetch_keys: returns all keys.
        monotonic: returns seconds that never decrease.
    """

    def __init__(self, fetch_keys: FetchKeys, monotonic: Callable[[], float]) -> None:
        self._fetch_keys = fetch_keys
        self._monotonic = monotonic
        self._keys: Sequence[Jwk] = ()
        self._fetched_at = self._attempted_at = float("-inf")
        self._refresh_lock = anyio.Lock()

    async def find_keys(self, kid: str | None) -> Sequence[Jwk]:
        """Return the keys that a token with this key id may be signed with.

        Several keys can have one id, and both keys and tokens can lack it. An empty result means
        that the keys, which were fetched at most `MIN_FETCH_INTERVAL_SECONDS` ago, do not include
        the key. Known keys stay in use while the issuer does not respond.

        Args:
            kid: the key id in the header of the token; None if it has none.

        Raises:
            KeysUnavailableError: The key is not known, and the keys could not be fetched.
        """
        candidates = self._candidates(kid)
        if candidates and (self._is_fresh or self._refresh_lock.locked()):
            return candidates
        async with self._refresh_lock:
            if not (self._candidates(kid) and self._is_fresh):
                await self._fetch_if_permitted()
        candidates = self._candidates(kid)
        if not candidates and self._fetched_at < self._attempted_at:
            raise KeysUnavailableError
        return candidates

    async def refresh(self, kid: str | None) -> Sequence[Jwk]:
        """Fetch the keys again, unless that happened a moment ago.

        Returns:
            The result of `find_keys`.
        """
        async with self._refresh_lock:
            await self._fetch_if_permitted()
        return self._candidates(kid)

    def _candidates(self, kid: str | None) -> Sequence[Jwk]:
        if kid is None:
            return self._keys
        named = [key for key in self._keys if key.get("kid") == kid]
        return named or [key for key in self._keys if "kid" not in key]

    @property
    def _is_fresh(self) -> bool:
        return self._monotonic() - self._fetched_at < KEYS_TTL_SECONDS

    async def _fetch_if_permitted(self) -> None:
        now = self._monotonic()
        if now - self._attempted_at < MIN_FETCH_INTERVAL_SECONDS:
            return
        self._attempted_at = now
        try:
            with anyio.fail_after(2 * FETCH_TIMEOUT_SECONDS):
                self._keys = await self._fetch_keys()
        except Exception as error:  # noqa: BLE001 - reported to callers as unavailable keys
            logger.warning("the issuer's keys could not be fetched (%s)", error_kind(error))
        else:
            self._fetched_at = now


class JwksClient:
    """HTTP client for the keys of one issuer.

    Args:
        issuer: the issuer.
        jwks_url: the address of its keys; None: the address in its metadata.
    """

    def __init__(self, issuer: str, jwks_url: str | None) -> None:
        self._issuer = issuer
        self._jwks_url = jwks_url

    async def fetch_keys(self) -> Sequence[Jwk]:
        """Return all current keys.

        Raises:
            httpx.HTTPError: The issuer does not respond.
            ConfigurationError: The environment's proxy or certificates cannot be used.
            ProtocolError: The response is not valid.
        """
        url = self._jwks_url or await self._discover_jwks_url()
        entries = (await _get_json(url)).get("keys")
        if not isinstance(entries, list):
            raise ProtocolError("The issuer's keys are not a JWK set.")
        return [
            cast("Jwk", entry) for entry in cast("list[object]", entries) if isinstance(entry, dict)
        ]

    async def _discover_jwks_url(self) -> str:
        issuer = canonical_identifier(self._issuer)
        for url in _metadata_urls(issuer):
            try:
                metadata = await _get_json(url)
            except ProtocolError:
                continue
            # Source: RFC 8414, 3.3: metadata of another issuer must not be used.
            if canonical_identifier(str(metadata.get("issuer"))) == issuer:
                return _validate_jwks_url(str(metadata.get("jwks_uri", "")))
        raise ProtocolError("The issuer has no metadata with the address of its keys.")


def _metadata_urls(issuer: str) -> tuple[str, ...]:
    """Return the addresses at which an issuer may publish its metadata, as MCP clients try them."""
    parts = urlsplit(issuer)
    origin, path = f"{parts.scheme}://{parts.netloc}", parts.path.rstrip("/")
    urls = (
        f"{origin}/.well-known/oauth-authorization-server{path}",
        f"{origin}/.well-known/openid-configuration{path}",
        f"{origin}{path}/.well-known/openid-configuration",
    )
    return tuple(dict.fromkeys(urls))


def _validate_jwks_url(url: str) -> str:
    try:
        reason = "its keys decide which tokens are trusted"
        return validate_url("jwks_uri", url, example=DEFAULT_API_URL, reason=reason)
    except ConfigurationError as error:
        raise ProtocolError("The address of keys in the issuer's metadata is not valid.") from error


async def _get_json(url: str) -> Mapping[str, Any]:
    # The issuer and its keys may be on different hosts, so each has its own proxy.
    async with (
        httpx.AsyncClient(
            transport=create_network_transport(url),
            timeout=FETCH_TIMEOUT_SECONDS,
            headers=_HEADERS,
            trust_env=False,  # the transport has read the environment
        ) as client,
        client.stream("GET", url) as response,
    ):
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
