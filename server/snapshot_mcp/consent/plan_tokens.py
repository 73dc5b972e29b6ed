"""Plan tokens: signed, stateless, short-lived, bound to one action on one target as it was."""

import base64
import hashlib
import hmac
import json
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Literal, NamedTuple

from snapshot_mcp.core.errors import RefusedError
from snapshot_mcp.ledger.chain import Argument

TOKEN_LIFETIME = timedelta(minutes=10)
_ALGORITHM = "HS256"
_MAX_TOKEN_LENGTH = 1_000
_DIGEST_BYTES = 12  # 96 bits: a model copies every character of a token
_NONCE_BYTES = 18
_REQUIRED = ["jti", "sub", "arg", "st", "aud", "exp"]
_PLAN_AGAIN = (
    "Nothing was changed. For a new plan call the tool without plan_token and confirm; for"
    " retention, plan_retention."
)


class Intent(NamedTuple):
    """What somebody wants to do, and to what.

    Attributes:
        tool: name of the tool.
        target: id of the snapshot; of the VM for create_snapshot; 0 for apply_retention.
        arguments: every other argument but plan_token and confirm.
    """

    tool: Literal[
        "create_snapshot",
        "restore_snapshot",
        "delete_snapshot",
        "apply_retention",
        "create_image_from_snapshot",
    ]
    target: int
    arguments: Mapping[str, Argument]


class Plan(NamedTuple):
    """What an authentic token says."""

    id: str
    state: str
    expires_at: datetime


class PlanTokens:
    """Issues and opens plan tokens.

    Args:
        key: gives the signing key; called at each use, so that nothing is read before the first.
        principal: tells who acts now.
        cloud: address of the cloud that the plans are for.
        now: the time.
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
        self._cloud = cloud
        self._now = now

    def issue(self, plan_id: str, intent: Intent, state: str) -> tuple[str, datetime]:
        """A token for `intent` on a target in `state`, and when it expires."""
        import jwt  # noqa: PLC0415 - only plans need it, every start would pay

        expires_at = (self._now() + TOKEN_LIFETIME).replace(microsecond=0)
        claims = {
            "jti": plan_id,
            "sub": f"{intent.tool}/{intent.target}",
            "arg": digest(intent.arguments),
            "st": state,
            "aud": self._audience(),
            "exp": int(expires_at.timestamp()),
        }
        return jwt.encode(claims, self._key(), algorithm=_ALGORITHM), expires_at

    def open(self, token: str, intent: Intent) -> Plan:
        """What `token` says, when it is authentic and for this very intent; it may have ended.

        Raises:
            RefusedError: it is not; the sentence says which.
        """
        claims = self._authentic(token)
        if claims["aud"] != self._audience():
            raise RefusedError("This plan was made for someone else or another cloud.", _PLAN_AGAIN)
        if claims["sub"] != f"{intent.tool}/{intent.target}":
            raise RefusedError("This plan is for another tool or another snapshot.", _PLAN_AGAIN)
        if claims["arg"] != digest(intent.arguments):
            raise RefusedError("This plan was made for other arguments.", _PLAN_AGAIN)
        expires_at = datetime.fromtimestamp(int(claims["exp"]), UTC)
        return Plan(str(claims["jti"]), str(claims["st"]), expires_at)

    def panel_nonce(self, plan_id: str) -> str:
        """What the panel is told of a plan and the model is not; no one can make it from the token.

        It is made anew from the plan's id, so nothing has to be kept, and it ends with the plan.
        """
        message = f"panel\n{self._audience()}\n{plan_id}".encode()
        digest_of_it = hmac.digest(self._key(), message, "sha256")[:_NONCE_BYTES]
        return base64.urlsafe_b64encode(digest_of_it).decode()

    def plan_id(self, token: str) -> str:
        """The id of the plan that `token` was issued for, whatever else is wrong with it; or ""."""
        try:
            return str(self._authentic(token)["jti"]) if token else ""
        except RefusedError:
            return ""

    def check_expiry(self, plan: Plan) -> None:
        """Let only a plan pass that has not ended.

        Raises:
            RefusedError: it has.
        """
        if plan.expires_at <= self._now():
            raise RefusedError("This plan has expired.", _PLAN_AGAIN)

    def _audience(self) -> str:
        return digest([self._principal(), self._cloud])

    def _authentic(self, token: str) -> dict[str, str | int | float]:
        import jwt  # noqa: PLC0415 - as above

        try:
            if len(token) > _MAX_TOKEN_LENGTH:
                raise jwt.InvalidTokenError
            return jwt.decode(
                token,
                self._key(),
                algorithms=[_ALGORITHM],
                # Time is an argument here, so the library's own clock is not asked.
                options={"require": _REQUIRED, "verify_exp": False, "verify_aud": False},
            )
        except jwt.PyJWTError as error:
            raise RefusedError(
                "This plan_token was not issued by this server.", _PLAN_AGAIN
            ) from error


def digest(value: object) -> str:
    """A short fingerprint of a JSON value; equal values have equal fingerprints."""
    canonical = json.dumps(value, sort_keys=True, separators=(",", ":"), default=str)
    short = hashlib.sha256(canonical.encode()).digest()[:_DIGEST_BYTES]
    return base64.urlsafe_b64encode(short).decode()
