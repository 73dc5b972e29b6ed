"""The issuer's public keys: fetched when a token first needs one, kept, and fetched again."""

import json
import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, cast
from urllib.parse import urlsplit

import anyio
import httpx

from snapshot_mcp import __version__
from snapshot_mcp.core.errors import ConfigurationError, ProtocolError
from snapshot_mcp.settings.environment import validate_url

KEYS_TTL_SECONDS = 300.0
"""So old the keys may be; one that the issuer took back is refused after that."""

MIN_FETCH_INTERVAL_SECONDS = 10.0
"""Whatever tokens come, the issuer is not asked more often."""

FETCH_TIMEOUT_SECONDS = 5.0
MAX_RESPONSE_BYTES = 256 * 1024
_OK = 200

Jwk = Mapping[str, Any]
Fetch = Callable[[], Awaitable[Mapping[str, Jwk]]]

logger = logging.getLogger(__name__)


class KeysUnavailableError(Exception):
    """The issuer did not answer, so a token can be judged neither good nor bad."""


class KeySet:
    """The keys of one issuer.

    Args:
        fetch: gets all of them, by their ids.
        elapsed: seconds that only grow.
    """

    def __init__(self, fetch: Fetch, elapsed: Callable[[], float]) -> None:
        self._fetch = fetch
        self._elapsed = elapsed
        self._keys: Mapping[str, Jwk] = {}
        self._fetched = self._tried = float("-inf")
        self._one_at_a_time = anyio.Lock()

    async def find_key(self, kid: str) -> Jwk | None:
        """The key of this id; None when the issuer has no such key.

        Keys that are known stay in use while the issuer does not answer.

        Raises:
            KeysMissing: it is not known, and the issuer did not answer.
        """
        known = self._keys.get(kid)
        if known is not None and (self._fresh or self._one_at_a_time.locked()):
            return known
        async with self._one_at_a_time:
            unknown = kid not in self._keys
            if (unknown or not self._fresh) and self._may_ask:
                await self._refresh()
        if kid not in self._keys and self._fetched < self._tried:
            raise KeysUnavailableError
        return self._keys.get(kid)

    @property
    def _fresh(self) -> bool:
        return self._elapsed() - self._fetched < KEYS_TTL_SECONDS

    @property
    def _may_ask(self) -> bool:
        return self._elapsed() - self._tried >= MIN_FETCH_INTERVAL_SECONDS

    async def _refresh(self) -> None:
        self._tried = self._elapsed()
        try:
            with anyio.fail_after(2 * FETCH_TIMEOUT_SECONDS):
                self._keys = await self._fetch()
        except (httpx.HTTPError, httpx.InvalidURL, ProtocolError, TimeoutError) as error:
            logger.warning("the issuer's keys could not be had (%s)", type(error).__name__)
        else:
            self._fetched = self._tried


class JwksClient:
    """Where tokens come from.

    Args:
        issuer: as its tokens name it.
        jwks_url: where its keys are; None: where its metadata says.
    """

    def __init__(self, issuer: str, jwks_url: str | None) -> None:
        self._issuer = issuer
        self._jwks_url = jwks_url

    async def fetch_keys(self) -> Mapping[str, Jwk]:
        """All keys that it signs with now, by their ids.

        Raises:
            httpx.HTTPError: it does not answer.
            ProtocolError: what it answers is of no use.
        """
        headers = {"accept": "application/json", "user-agent": f"snapshot-mcp/{__version__}"}
        # Nothing that an issuer of this machine is asked goes by a proxy.
        far = self._issuer.startswith("https:")
        async with httpx.AsyncClient(
            timeout=FETCH_TIMEOUT_SECONDS, headers=headers, trust_env=far
        ) as client:
            address = self._jwks_url or await self._discovered(client)
            entries = (await _json(client, address)).get("keys")
        if not isinstance(entries, list):
            raise ProtocolError("The issuer's keys are no JWK set.")
        keys = [cast("Jwk", it) for it in cast("list[object]", entries) if isinstance(it, dict)]
        return {str(it["kid"]): it for it in keys if "kid" in it and it.get("use") != "enc"}

    async def _discovered(self, client: httpx.AsyncClient) -> str:
        for address in _metadata_addresses(self._issuer):
            try:
                metadata = await _json(client, address)
            except ProtocolError:
                continue
            # Source: RFC 8414, 3.3: metadata of another issuer must not be used.
            if metadata.get("issuer") == self._issuer:
                return _trusted(str(metadata.get("jwks_uri", "")))
        raise ProtocolError("The issuer has no metadata that tells where its keys are.")


def _metadata_addresses(issuer: str) -> tuple[str, ...]:
    parts = urlsplit(issuer)
    origin, path = f"{parts.scheme}://{parts.netloc}", parts.path.rstrip("/")
    return (
        f"{origin}/.well-known/oauth-authorization-server{path}",
        f"{origin}{path}/.well-known/openid-configuration",
    )


def _trusted(jwks_uri: str) -> str:
    try:
        return validate_url("jwks_uri", jwks_uri, reason="it decides which tokens are valid")
    except ConfigurationError as error:
        raise ProtocolError("The issuer's metadata names no address of keys.") from error


async def _json(client: httpx.AsyncClient, address: str) -> Mapping[str, Any]:
    async with client.stream("GET", address) as response:
        body = b""
        async for part in response.aiter_bytes():
            body += part
            if len(body) > MAX_RESPONSE_BYTES:
                raise ProtocolError("The issuer's answer is too long.")
    try:
        answer: object = json.loads(body) if response.status_code == _OK else None
    except (ValueError, RecursionError):
        answer = None
    if not isinstance(answer, dict):
        raise ProtocolError("The issuer's answer is no JSON object.")
    return cast("Mapping[str, Any]", answer)
