"""Who presents a token, and what they may: static tokens first, then the issuer's JWTs."""

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
"""So much the issuer's clock and ours may differ."""

CACHE_TTL_SECONDS = 60.0
"""So long a good token is taken without another look at its signature, if it lasts."""

ALGORITHMS = (
    *("RS256", "RS384", "RS512", "PS256", "PS384", "PS512"),
    *("ES256", "ES384", "ES512", "EdDSA"),
)
"""All are of two keys: what is public verifies and cannot sign."""

_CACHE_SIZE = 1_000
_MAX_TOKEN_LENGTH = 8_192
_SUBJECT = re.compile(r"[\x21-\x7e]{1,255}")
"""Source: OpenID Connect Core, 2: a subject has at most 255 ASCII characters."""

_REQUIRED = ["iss", "aud", "exp", "sub"]
_TOLD: Mapping[type[jwt.PyJWTError], str] = {
    jwt.ExpiredSignatureError: "The token has expired",
    jwt.ImmatureSignatureError: "The token is not valid yet",
    jwt.InvalidAudienceError: "The token is for another audience",
    jwt.InvalidIssuerError: "The token is of another issuer",
    jwt.MissingRequiredClaimError: "The token lacks a claim that it needs",
}
_OTHERWISE = "The token is not valid"


class RejectedTokenError(Exception):
    """The token is not one to act on; the sentence may be told to whoever presented it."""


class TokenVerifier:
    """Tells who presents a token.

    Args:
        bearers: those who have a static token.
        keys: of the issuer; None where no JWT is taken.
        issuer: as its tokens name it.
        audience: what they must be for.
        clock: the time.
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
        self._bearers = static_tokens
        self._keys = keys
        self._issuer = issuer
        self._audience = audience
        self._clock = clock
        self._kept: TTLCache[bytes, AccessToken] = TTLCache(
            _CACHE_SIZE, CACHE_TTL_SECONDS, clock.monotonic
        )

    async def verify(self, token: str) -> AccessToken:
        """Who presents `token`, what they may, and until when; the token itself is not kept.

        Raises:
            Rejected: it is no token of ours or the issuer's, or not any more.
            KeysMissing: that cannot be told now.
        """
        if len(token) > _MAX_TOKEN_LENGTH:
            raise RejectedTokenError(_OTHERWISE)
        name = hashlib.sha256(token.encode()).digest()
        access = self._kept.get(name)
        if access is None:
            access = self._static(token) or await self._issued(token)
            self._kept[name] = access
        if access.expires_at is not None and access.expires_at <= self._clock.now().timestamp():
            raise RejectedTokenError(_TOLD[jwt.ExpiredSignatureError])
        return access

    def _static(self, token: str) -> AccessToken | None:
        found = find_static_token(token, self._bearers) if self._bearers else None
        if found is None:
            return None
        scopes = sorted(found.scopes)
        return AccessToken(token="", client_id="", scopes=scopes, subject=found.principal)

    async def _issued(self, token: str) -> AccessToken:
        if self._keys is None:
            raise RejectedTokenError(_OTHERWISE)
        try:
            return _access(await self._claims(token, self._keys))
        except jwt.PyJWTError as error:
            raise RejectedTokenError(_TOLD.get(type(error), _OTHERWISE)) from error

    async def _claims(self, token: str, keys: KeySet) -> Mapping[str, Any]:
        header = jwt.get_unverified_header(token)
        algorithm = header.get("alg")
        if algorithm not in ALGORITHMS or "crit" in header:
            raise RejectedTokenError(_OTHERWISE)
        jwk = await keys.find_key(str(header.get("kid", "")))
        if jwk is None:
            raise RejectedTokenError("The token is not signed with a key of the issuer")
        return jwt.decode(
            token,
            _public_key(jwk, algorithm),
            algorithms=[algorithm],
            audience=self._audience,
            issuer=self._issuer,
            leeway=LEEWAY_SECONDS,
            options={"require": _REQUIRED},
        )


def _public_key(jwk: Jwk, algorithm: str) -> jwt.PyJWK:
    try:
        # A key that says nothing of its algorithm is good for those of its kind alone.
        return jwt.PyJWK(dict(jwk), jwk.get("alg") or algorithm)
    except (ValueError, TypeError, KeyError, NotImplementedError) as error:
        raise RejectedTokenError("The issuer's key for this token cannot be used") from error


def _access(claims: Mapping[str, Any]) -> AccessToken:
    subject = claims["sub"]
    if not _SUBJECT.fullmatch(subject):
        raise RejectedTokenError("The token's subject is longer than 255 characters or not ASCII")
    return AccessToken(
        token="",
        client_id=str(claims.get("client_id") or claims.get("azp") or ""),
        scopes=[it for it in SCOPES if it in _scopes(claims)],
        expires_at=int(claims["exp"]) + LEEWAY_SECONDS,
        subject=subject,
        claims={"iss": claims["iss"]},
    )


def _scopes(claims: Mapping[str, Any]) -> list[str]:
    """What the token allows: `scope` (RFC 8693), or `scp` as some issuers have it."""
    said: object = claims.get("scope", claims.get("scp", ""))
    if isinstance(said, str):
        return said.split()
    return [str(it) for it in cast("list[object]", said)] if isinstance(said, list) else []
