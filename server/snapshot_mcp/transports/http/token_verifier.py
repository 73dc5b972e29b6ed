"""Token verification: static tokens first, then the issuer's JWTs."""

import hashlib
import re
from collections.abc import Mapping
from typing import Any, cast

import jwt
from cachetools import TTLCache
from mcp.server.auth.provider import AccessToken

from snapshot_mcp.core.clock import Clock
from snapshot_mcp.transports.http.jwks import Jwk, KeySet
from snapshot_mcp.transports.http.scopes import SCOPES
from snapshot_mcp.transports.http.static_tokens import StaticToken, find_static_token

LEEWAY_SECONDS = 10
"""Tolerated difference between the issuer's clock and this machine's."""

CACHE_TTL_SECONDS = 60.0
"""Seconds for which a verified token is accepted without verifying its signature again."""

ALGORITHMS = (
    *("RS256", "RS384", "RS512", "PS256", "PS384", "PS512"),
    *("ES256", "ES384", "ES512", "EdDSA"),
)
"""Asymmetric algorithms only: the published key can verify a token but cannot sign one."""

_CACHE_SIZE = 1_000
_MAX_TOKEN_LENGTH = 8_192
_SUBJECT = re.compile(r"[\x21-\x7e]{1,255}")
"""Source: OpenID Connect Core, 2: a subject has at most 255 ASCII characters."""

_REQUIRED_CLAIMS = ["iss", "aud", "exp", "sub"]
_MESSAGES: Mapping[type[jwt.PyJWTError], str] = {
    jwt.ExpiredSignatureError: "The token has expired.",
    jwt.ImmatureSignatureError: "The token is not valid yet.",
    jwt.InvalidAudienceError: "The token is for another audience.",
    jwt.InvalidIssuerError: "The token is from another issuer.",
    jwt.MissingRequiredClaimError: "The token lacks a required claim.",
}
_INVALID_MESSAGE = "The token is not valid."


class RejectedTokenError(Exception):
    """The token is not accepted. The message may be shown to the caller."""


class TokenVerifier:
    """Verifies bearer tokens.

    Args:
        static_tokens: the static tokens.
        keys: the keys of the issuer; None if JWTs are not accepted.
        issuer: the issuer, exactly as its tokens name it.
        audience: the required audience of its tokens.
        clock: the clock.
    """

    def __init__(
        self,
        *,
        static_tokens: tuple[StaticToken, ...],
        keys: KeySet | None,
        issuer: str | None,
        audience: str | None,
        clock: Clock,
    ) -> None:
        self._static_tokens = static_tokens
        self._keys = keys
        self._issuer = issuer
        self._audience = audience
        self._clock = clock
        self._cache: TTLCache[bytes, AccessToken] = TTLCache(
            _CACHE_SIZE, CACHE_TTL_SECONDS, clock.monotonic
        )

    async def verify(self, token: str) -> AccessToken:
        """Return principal, scopes and expiry of `token`, without the token itself.

        Raises:
            RejectedTokenError: The token is unknown, not valid, or has expired.
            KeysUnavailableError: The token cannot be verified now.
        """
        if len(token) > _MAX_TOKEN_LENGTH:
            raise RejectedTokenError(_INVALID_MESSAGE)
        digest = hashlib.sha256(token.encode()).digest()
        access_token = self._cache.get(digest)
        if access_token is None:
            access_token = self._find_static(token) or await self._verify_jwt(token)
            self._cache[digest] = access_token
        expires_at = access_token.expires_at
        if expires_at is not None and expires_at <= self._clock.now().timestamp():
            raise RejectedTokenError(_MESSAGES[jwt.ExpiredSignatureError])
        return access_token

    def _find_static(self, token: str) -> AccessToken | None:
        if not self._static_tokens:
            return None
        static_token = find_static_token(token, self._static_tokens)
        if static_token is None:
            return None
        scopes = sorted(static_token.scopes)
        return AccessToken(token="", client_id="", scopes=scopes, subject=static_token.principal)

    async def _verify_jwt(self, token: str) -> AccessToken:
        if self._keys is None:
            raise RejectedTokenError(_INVALID_MESSAGE)
        try:
            return _access_token(await self._decode(token, self._keys))
        except jwt.PyJWTError as error:
            message = _MESSAGES.get(type(error), _INVALID_MESSAGE)
            raise RejectedTokenError(message) from error

    async def _decode(self, token: str, keys: KeySet) -> Mapping[str, Any]:
        header = jwt.get_unverified_header(token)
        algorithm = header.get("alg")
        if algorithm not in ALGORITHMS or "crit" in header:
            raise RejectedTokenError(_INVALID_MESSAGE)
        jwk = await keys.find_key(str(header.get("kid", "")))
        if jwk is None:
            raise RejectedTokenError("The token is not signed with a key of the issuer.")
        return jwt.decode(
            token,
            _public_key(jwk, algorithm),
            algorithms=[algorithm],
            audience=self._audience,
            issuer=self._issuer,
            leeway=LEEWAY_SECONDS,
            options={"require": _REQUIRED_CLAIMS},
        )


def _public_key(jwk: Jwk, algorithm: str) -> jwt.PyJWK:
    try:
        # A key without an algorithm is valid for all algorithms of its type.
        return jwt.PyJWK(dict(jwk), jwk.get("alg") or algorithm)
    except (ValueError, TypeError, KeyError, NotImplementedError) as error:
        raise RejectedTokenError("The issuer's key for this token cannot be used.") from error


def _access_token(claims: Mapping[str, Any]) -> AccessToken:
    subject = claims["sub"]
    if not _SUBJECT.fullmatch(subject):
        raise RejectedTokenError("The token's subject is longer than 255 characters or not ASCII.")
    token_scopes = _scopes(claims)
    return AccessToken(
        token="",
        client_id=str(claims.get("client_id") or claims.get("azp") or ""),
        scopes=[scope for scope in SCOPES if scope in token_scopes],
        expires_at=int(claims["exp"]) + LEEWAY_SECONDS,
        subject=subject,
        claims={"iss": claims["iss"]},
    )


def _scopes(claims: Mapping[str, Any]) -> list[str]:
    """Return the scopes in `scope` (RFC 8693), or in `scp`, which some issuers use instead."""
    value: object = claims.get("scope", claims.get("scp", ""))
    if isinstance(value, str):
        return value.split()
    if not isinstance(value, list):
        return []
    return [str(scope) for scope in cast("list[object]", value)]
