"""Plan tokens: signed, short-lived, bound to one action on one target in one state.

The server keeps no list of tokens: everything it needs to check one is signed into it.
"""

import base64
import hashlib
import hmac
import json
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Literal, NamedTuple

from snapshot_mcp.core.errors import NOTHING_CHANGED, RefusedError
from snapshot_mcp.ledger.chain import Argument

TOKEN_TTL = timedelta(minutes=10)
_ALGORITHM = "HS256"
_MAX_TOKEN_LENGTH = 1_000
_DIGEST_BYTES = 12  # 96 bits: models copy tokens by hand, so every character counts
_NONCE_BYTES = 18
_REQUIRED_CLAIMS = ["jti", "sub", "arg", "st", "aud", "exp"]
_PLAN_AGAIN = (
    f"{NOTHING_CHANGED} For a new plan call the tool without plan_token and confirm; for"
    " retention, plan_retention."
)


class Intent(NamedTuple):
    """The action that a call requests.

    Attributes:
        tool: name of the tool.
        target: id of the snapshot; of the VM for create_snapshot and delete_rehearsal_vm; 0 for
            apply_retention.
        arguments: every other argument, except plan_token and confirm.
    """

    tool: Literal[
        "create_snapshot",
        "restore_snapshot",
        "delete_snapshot",
        "apply_retention",
        "create_image_from_snapshot",
        "delete_rehearsal_vm",
    ]
    target: int
    arguments: Mapping[str, Argument]


class Plan(NamedTuple):
    """The content of an authentic plan token."""

    id: str
    state: str
    expires_at: datetime


class PlanTokens:
    """Issues and verifies plan tokens.

    Args:
        key: returns the signing key; called at each use, so that the start of the server does not
            read it.
        principal: returns the current principal.
        cloud: the cloud that the plans are for, as the ledger names it.
        now: returns the current time.
    """

    def __init__(
        self,
        *,
        key: Callable[[], bytes],
        principal: Callable[[], str],
        cloud: str,
        now: Callable[[], datetime],
    ) -> None:
        self._key = key
        self._principal = principal
        self.cloud = cloud
        self._now = now

    def issue(self, plan_id: str, intent: Intent, state: str) -> tuple[str, datetime]:
        """Return a token for `intent` on a target in `state`, and its expiry."""
        import jwt  # noqa: PLC0415 - only plans need it; a start should not load it

        expires_at = (self._now() + TOKEN_TTL).replace(microsecond=0)
        claims = {
            "jti": plan_id,
            "sub": f"{intent.tool}/{intent.target}",
            "arg": digest(intent.arguments),
            "st": state,
            "aud": self._audience(),
            "exp": int(expires_at.timestamp()),
        }
        return jwt.encode(claims, self._key(), algorithm=_ALGORITHM), expires_at

    def verify(self, token: str, intent: Intent) -> Plan:
        """Return the content of a token if it is authentic and made for this intent.

        The expiry is checked separately (`check_expiry`).

        Raises:
            RefusedError: the token is not authentic, or was made for another intent.
        """
        claims = self._verify_signature(token)
        if claims["aud"] != self._audience():
            raise RefusedError("This plan was made for someone else or another cloud.", _PLAN_AGAIN)
        if claims["sub"] != f"{intent.tool}/{intent.target}":
            raise RefusedError("This plan is for another tool or another snapshot.", _PLAN_AGAIN)
        if claims["arg"] != digest(intent.arguments):
            raise RefusedError("This plan was made for other arguments.", _PLAN_AGAIN)
        expires_at = datetime.fromtimestamp(int(claims["exp"]), UTC)
        return Plan(str(claims["jti"]), str(claims["st"]), expires_at)

    def panel_nonce(self, plan_id: str) -> str:
        """Return the secret of a plan that only the panel receives.

        It is derived from the plan's id and the signing key, so nothing has to be stored, and it
        cannot be derived from the token.
        """
        message = f"panel\n{self._audience()}\n{plan_id}".encode()
        nonce = hmac.digest(self._key(), message, "sha256")[:_NONCE_BYTES]
        return base64.urlsafe_b64encode(nonce).decode()

    def plan_id_of(self, token: str) -> str:
        """Return the plan id of an authentic token, even of an expired one; otherwise ""."""
        try:
            return str(self._verify_signature(token)["jti"]) if token else ""
        except RefusedError:
            return ""

    def check_expiry(self, plan: Plan) -> None:
        """Check that a plan has not expired.

        Raises:
            RefusedError: it has.
        """
        if plan.expires_at <= self._now():
            raise RefusedError("This plan has expired.", _PLAN_AGAIN)

    def _audience(self) -> str:
        return digest([self._principal(), self.cloud])

    def _verify_signature(self, token: str) -> dict[str, str | int | float]:
        import jwt  # noqa: PLC0415 - as in `issue`

        try:
            if len(token) > _MAX_TOKEN_LENGTH:
                raise jwt.InvalidTokenError
            return jwt.decode(
                token,
                self._key(),
                algorithms=[_ALGORITHM],
                # The expiry is checked against our own clock.
                options={"require": _REQUIRED_CLAIMS, "verify_exp": False, "verify_aud": False},
            )
        except jwt.PyJWTError as error:
            raise RefusedError(
                "This plan_token was not issued by this server.", _PLAN_AGAIN
            ) from error


def digest(value: object) -> str:
    """Return a short digest of a JSON value; equal values have equal digests."""
    canonical = json.dumps(value, sort_keys=True, separators=(",", ":"), default=str)
    shortened = hashlib.sha256(canonical.encode()).digest()[:_DIGEST_BYTES]
    return base64.urlsafe_b64encode(shortened).decode()
