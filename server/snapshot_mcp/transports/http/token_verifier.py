"""Token verification: static tokens first, then the issuer's JWTs."""

import hashlib
import logging
from collections.abc import Collection, Mapping, Sequence
from typing import Any, cast

import jwt
from cachetools import TTLCache
from mcp.server.auth.provider import AccessToken

from snapshot_mcp.core.clock import Clock
from snapshot_mcp.core.errors import error_kind
from snapshot_mcp.transports.http.jwks import Jwk, KeySet, KeysUnavailableError
from snapshot_mcp.transports.http.signing_keys import ALGORITHMS, UnusableKeyError, public_key
from snapshot_mcp.transports.http.static_tokens import StaticToken, find_static_token
from snapshot_mcp.transports.http.token_claims import (
    LEEWAY_SECONDS,
    Claims,
    ClaimsReader,
    RejectedTokenError,
)

CACHE_TTL_SECONDS = 60.0
"""Seconds for which a verified token is accepted without verifying its signature again."""

MAX_TOKEN_LENGTH = 65_536
"""Characters of a token. One with 150 groups has about 9,000."""

_CACHE_SIZE = 1_000
_TYPES = frozenset({"jwt", "at+jwt"})
"""The types of access tokens. Source: RFC 9068, 2.1, for `at+jwt`; many issuers use `JWT`."""

_OPTIONS: Mapping[str, Any] = {
    "require": ["iss", "exp", "sub"],
    # `ClaimsReader` checks these, because the library compares addresses exactly.
    **dict.fromkeys(("verify_aud", "verify_iss", "verify_sub", "verify_jti"), False),
}
_INVALID_MESSAGE = "The token is not valid."
_EXPIRED_MESSAGE = "The token has expired."
_MESSAGES: Sequence[tuple[type[Exception], str]] = (
    (jwt.ExpiredSignatureError, _EXPIRED_MESSAGE),
    (jwt.ImmatureSignatureError, "The token is not valid yet."),
    (jwt.InvalidSignatureError, "The token's signature does not match the issuer's key."),
    (jwt.DecodeError, "The token is not a well-formed JWT."),
    (UnusableKeyError, "The issuer's key for this token does not fit the token's algorithm."),
)
"""The first entry of which an error is an instance has its message."""


logger = logging.getLogger(__name__)


class TokenVerifier:
    """Verifies bearer tokens.

    Args:
        static_tokens: the static tokens.
        keys: the keys of the issuer; None if JWTs are not accepted.
        issuer: the issuer.
        audiences: the accepted audiences of its tokens.
        clock: the clock.
    """

    def __init__(
        self,
        *,
        static_tokens: tuple[StaticToken, ...],
        keys: KeySet | None,
        issuer: str | None,
        audiences: Collection[str],
        clock: Clock,
    ) -> None:
        self._static_tokens = static_tokens
        self._keys = keys
        self._claims_reader = ClaimsReader(issuer or "", audiences)
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
        if len(token) > MAX_TOKEN_LENGTH:
            raise RejectedTokenError(f"The token is longer than {MAX_TOKEN_LENGTH} characters.")
        digest = hashlib.sha256(token.encode()).digest()
        access_token = self._cache.get(digest)
        if access_token is None:
            access_token = self._find_static(token) or await self._verify_jwt(token)
            self._cache[digest] = access_token
        expires_at = access_token.expires_at
        if expires_at is not None and expires_at <= self._clock.now().timestamp():
            raise RejectedTokenError(_EXPIRED_MESSAGE)
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
            header = jwt.get_unverified_header(token)
            algorithm = _check_header(header)
            # Tokens of other issuers are rejected without a request for keys.
            unverified_claims = jwt.decode(token, options={"verify_signature": False})
            self._claims_reader.check_issuer(unverified_claims)
            claims = await _verify_signature(token, algorithm, header.get("kid"), self._keys)
            return self._claims_reader.read(claims)
        except (RejectedTokenError, KeysUnavailableError):
            raise
        except Exception as error:  # a token that cannot be verified must not be accepted
            logger.debug("a token was rejected: %s", error_kind(error))
            raise RejectedTokenError(_rejection_message(error)) from error


def _check_header(header: Mapping[str, Any]) -> str:
    """Return the algorithm of a token whose header is acceptable.

    Raises:
        RejectedTokenError: The header is not acceptable.
    """
    algorithm: object = header.get("alg")
    if algorithm not in ALGORITHMS:
        raise RejectedTokenError(
            "The token is not signed with an algorithm that this server accepts."
        )
    if "crit" in header:  # RFC 7515, 4.1.11
        raise RejectedTokenError("The token has extensions that this server does not support.")
    token_type = str(header.get("typ", "JWT")).lower().removeprefix("application/")
    if token_type not in _TYPES:
        raise RejectedTokenError("The token has another type than an access token.")
    return cast("str", algorithm)


async def _verify_signature(token: str, algorithm: str, kid: str | None, keys: KeySet) -> Claims:
    """Return the claims of a token that one of the issuer's keys verifies.

    If none does, the keys are fetched again, because an issuer can replace a key and keep its id.

    Raises:
        RejectedTokenError: No key of the issuer verifies the token.
        jwt.PyJWTError: The token is signed by the issuer, but not valid now.
    """
    candidates = await keys.find_keys(kid)
    if not candidates:
        raise RejectedTokenError("The issuer's current keys do not include the key of the token.")
    try:
        return _decode(token, algorithm, candidates)
    except (UnusableKeyError, jwt.InvalidSignatureError):
        refreshed = await keys.refresh(kid)
        if refreshed == candidates:
            raise
        return _decode(token, algorithm, refreshed)


def _decode(token: str, algorithm: str, candidates: Sequence[Jwk]) -> Claims:
    failure: Exception = UnusableKeyError()
    for candidate in candidates:
        try:
            return jwt.decode(
                token,
                public_key(candidate, algorithm),
                algorithms=[algorithm],
                leeway=LEEWAY_SECONDS,
                options=cast("Any", _OPTIONS),
            )
        except UnusableKeyError:
            continue
        except jwt.InvalidSignatureError as error:
            failure = error
    raise failure


def _rejection_message(error: Exception) -> str:
    if isinstance(error, jwt.MissingRequiredClaimError):
        return f"The token lacks the claim {error.claim}."
    return next((text for kind, text in _MESSAGES if isinstance(error, kind)), _INVALID_MESSAGE)
