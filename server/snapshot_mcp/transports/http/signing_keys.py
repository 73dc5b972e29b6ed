"""The use of an issuer's key for one algorithm."""

from collections.abc import Mapping

import jwt

from snapshot_mcp.transports.http.jwks import Jwk

_RSA = {"kty": "RSA"}
_REQUIRED_MEMBERS: Mapping[str, Mapping[str, str]] = {
    **dict.fromkeys(("RS256", "RS384", "RS512", "PS256", "PS384", "PS512"), _RSA),
    "ES256": {"kty": "EC", "crv": "P-256"},
    "ES384": {"kty": "EC", "crv": "P-384"},
    "ES512": {"kty": "EC", "crv": "P-521"},
    "EdDSA": {"kty": "OKP", "crv": "Ed25519"},
}

ALGORITHMS = tuple(_REQUIRED_MEMBERS)
"""Asymmetric algorithms only: the published key can verify a token but cannot sign one."""

MIN_RSA_BITS = 2_048
"""Source: RFC 7518, 3.3."""

_PUBLIC_MEMBERS = frozenset({"kty", "crv", "x", "y", "n", "e"})


class UnusableKeyError(Exception):
    """The key cannot verify signatures of this algorithm."""


def public_key(jwk: Jwk, algorithm: str) -> jwt.PyJWK:
    """Return the key that verifies signatures of `algorithm`.

    Args:
        jwk: a key of the issuer.
        algorithm: one of `ALGORITHMS`.

    Raises:
        UnusableKeyError: The key is malformed, is for another algorithm or another purpose, or is
            too short.
    """
    if not _is_intended_for(jwk, algorithm):
        raise UnusableKeyError
    members = {name: value for name, value in jwk.items() if name in _PUBLIC_MEMBERS}
    try:
        key = jwt.PyJWK(members, algorithm)
        bits = key.key.key_size if jwk["kty"] == "RSA" else MIN_RSA_BITS
    except Exception as error:  # a malformed key must not be used
        raise UnusableKeyError from error
    if bits < MIN_RSA_BITS:
        raise UnusableKeyError
    return key


def _is_intended_for(jwk: Jwk, algorithm: str) -> bool:
    """Return whether the members of the key permit this use. Source: RFC 7517, 4.1 to 4.4."""
    operations = jwk.get("key_ops", ["verify"])
    return (
        all(jwk.get(name) == value for name, value in _REQUIRED_MEMBERS[algorithm].items())
        and jwk.get("alg", algorithm) == algorithm
        and jwk.get("use", "sig") == "sig"
        and isinstance(operations, list)
        and "verify" in operations
    )
