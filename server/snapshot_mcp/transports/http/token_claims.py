"""The claims of a JWT, as different issuers write them.

`docs/identity-providers.md` describes the tokens of each provider.
"""

import unicodedata
from collections.abc import Collection, Mapping
from typing import Any, cast

from mcp.server.auth.provider import AccessToken

from snapshot_mcp.core.sanitize import sanitize
from snapshot_mcp.transports.http.identifiers import canonical_identifier
from snapshot_mcp.transports.http.scopes import SCOPES

Claims = Mapping[str, Any]

LEEWAY_SECONDS = 10
"""Tolerated difference between the issuer's clock and this machine's."""

MAX_SUBJECT_LENGTH = 255
"""Source: OpenID Connect Core, 2."""

_MAX_EXPIRY = 253_402_300_799
"""The last second of the year 9999: a later time is a mistake, and no date can hold it."""

_SCOPE_CLAIMS = ("scope", "scp", "permissions", "roles")
"""The claims that can name scopes. Source: RFC 8693, 4.2, for `scope`; Okta and Entra for `scp`;
Auth0 for `permissions`; RFC 9068, 2.2.3.1, and Entra for `roles`."""

_CLIENT_CLAIMS = ("client_id", "azp", "appid", "cid")
_HASH_CLAIMS = frozenset({"at_hash", "c_hash", "s_hash"})
"""Source: OpenID Connect Core, 3.1.3.6 and 3.3.2.11: only ID tokens have these claims."""


class RejectedTokenError(Exception):
    """The token is not accepted. The message may be shown to the caller."""


class ClaimsReader:
    """Reads the claims of the tokens of one issuer.

    Args:
        issuer: the issuer.
        audiences: the accepted audiences.
    """

    def __init__(self, issuer: str, audiences: Collection[str]) -> None:
        self._issuer = issuer
        self._canonical_issuer = canonical_identifier(issuer)
        self._audiences = frozenset(map(canonical_identifier, audiences))
        # Cognito puts the identifier of the resource server before the names of its scopes.
        self._scope_names = {scope: scope for scope in SCOPES} | {
            f"{audience}/{scope}": scope for audience in audiences for scope in SCOPES
        }

    def check_issuer(self, claims: Claims) -> None:
        """Check the issuer, which decides whether its keys are needed.

        Raises:
            RejectedTokenError: The token has no issuer, or another one.
        """
        issuer = claims.get("iss")
        if issuer is None:
            raise RejectedTokenError("The token lacks the claim iss.")
        if not isinstance(issuer, str) or canonical_identifier(issuer) != self._canonical_issuer:
            raise RejectedTokenError("The token is from another issuer.")

    def read(self, claims: Claims) -> AccessToken:
        """Return principal, scopes and expiry of a token with a valid signature.

        The name of the issuer in the principal is the one in the settings, so that each principal
        has one name, however the issuer is spelled in the token.

        Raises:
            RejectedTokenError: The token is not an access token for this service.
        """
        self.check_issuer(claims)
        _check_purpose(claims)
        self._check_audience(claims)
        expiry = int(claims["exp"])
        if expiry > _MAX_EXPIRY:
            raise RejectedTokenError("The token expires after the year 9999.")
        clients = (claims.get(name) for name in _CLIENT_CLAIMS)
        return AccessToken(
            token="",
            client_id=next((client for client in clients if isinstance(client, str)), ""),
            scopes=self._read_scopes(claims),
            expires_at=expiry + LEEWAY_SECONDS,
            subject=_read_subject(claims),
            claims={"iss": self._issuer},
        )

    def _check_audience(self, claims: Claims) -> None:
        audiences = _texts(claims.get("aud"))
        # Access tokens of Cognito name the client instead of an audience.
        if claims.get("aud") is None and claims.get("token_use") == "access":
            audiences = _texts(claims.get("client_id"))
        elif not claims.get("aud"):
            raise RejectedTokenError("The token lacks the claim aud.")
        if self._audiences.isdisjoint(map(canonical_identifier, audiences)):
            raise RejectedTokenError("The token is for another audience.")

    def _read_scopes(self, claims: Claims) -> list[str]:
        """Return the scopes in the first claim that names any.

        The scopes that a user granted to a client thereby limit the roles of the user.
        """
        for name in _SCOPE_CLAIMS:
            value = claims.get(name)
            words = value.split() if isinstance(value, str) else _texts(value)
            granted = {self._scope_names[word] for word in words if word in self._scope_names}
            if granted:
                return [scope for scope in SCOPES if scope in granted]
        return []


def _check_purpose(claims: Claims) -> None:
    """Reject tokens that the issuer signs with the same keys for other purposes."""
    is_access_token = claims.get("scope") is not None or claims.get("scp") is not None
    if (
        not _HASH_CLAIMS.isdisjoint(claims)
        or ("nonce" in claims and not is_access_token)
        or claims.get("token_use") == "id"  # Cognito
        or claims.get("typ") == "ID"  # Keycloak
    ):
        raise RejectedTokenError("The token is an ID token, not an access token.")
    # Source: OpenID Connect Back-Channel Logout, 2.4; RFC 8417, 2.2.
    if "events" in claims or claims.get("typ") in {"Logout", "Refresh", "Offline"}:
        raise RejectedTokenError("The token is not an access token.")
    if "cnf" in claims:  # RFC 7800, for RFC 8705 and RFC 9449
        raise RejectedTokenError("The token is bound to a key of its client, not a bearer token.")


def _read_subject(claims: Claims) -> str:
    subject: object = claims["sub"]
    if not isinstance(subject, str) or not subject:
        raise RejectedTokenError("The token's subject is empty or not a text.")
    if len(subject) > MAX_SUBJECT_LENGTH or not subject.isprintable() or _hides_text(subject):
        raise RejectedTokenError(
            f"The token's subject is longer than {MAX_SUBJECT_LENGTH} characters, or has characters"
            " that are not visible."
        )
    return subject


def _hides_text(subject: str) -> bool:
    """Return whether two different subjects may look the same because of invisible characters."""
    framed = unicodedata.normalize("NFC", f"'{subject}'")  # spaces at its ends are visible
    return sanitize(framed, MAX_SUBJECT_LENGTH + 2).text != framed


def _texts(value: object) -> list[str]:
    """Return the text or the texts in a claim; anything else is ignored."""
    values = cast("list[object]", value) if isinstance(value, list) else [value]
    return [text for text in values if isinstance(text, str)]
