"""The reasons for which the ledger does not record a plan or an attempt as sent."""

from snapshot_mcp.core.errors import NOTHING_CHANGED, RefusedError
from snapshot_mcp.ledger.chain import RateLimit

_SPANS: dict[float, str] = {60: "a minute", 3_600: "an hour", 86_400: "a day"}


def lost_rows_error() -> RefusedError:
    """Return the error for a plan while the loss of rows is not acknowledged."""
    return RefusedError(
        "The ledger lost its last rows, so it cannot show which plans were used.",
        f"{NOTHING_CHANGED} No plan can be made or committed before the operator runs"
        " `snapshot-mcp ledger acknowledge`; `snapshot-mcp ledger verify` says what is missing.",
    )


class ForeignKeyError(RefusedError):
    """The last rows of the ledger do not fit the signing key of this server."""

    def __init__(self) -> None:
        super().__init__(
            "The ledger's last rows were not written with the signing key of this server: the key"
            " was replaced, or the ledger was.",
            f"{NOTHING_CHANGED} Nothing can be changed before the operator restores the key, or"
            " runs `snapshot-mcp ledger acknowledge`; `snapshot-mcp ledger verify` names the rows."
            " Servers that share a ledger must share a signing key.",
        )


def already_used_error() -> RefusedError:
    """Return the error for a plan that was sent before."""
    return RefusedError(
        "This plan was already used; a plan can be used once.",
        f"{NOTHING_CHANGED} The first use may have taken effect: check the current state.",
    )


def rate_limit_error(limit: RateLimit) -> RefusedError:
    """Return the error for an attempt beyond the operator's limit."""
    span = _SPANS.get(limit.seconds, f"{limit.seconds:g} seconds")
    return RefusedError(
        f"The operator allows at most {limit.events} of these in {span}, and that many were sent"
        " already.",
        f"{NOTHING_CHANGED} Tell the person that it can be done later.",
    )


def unrecorded_plan_error() -> RefusedError:
    """Return the error for a plan of which the ledger has no valid record."""
    return RefusedError(
        "The ledger's record of this plan is missing or was altered.",
        f"{NOTHING_CHANGED} The plan was made with another ledger, or this one lost rows. Make"
        " a new plan.",
    )
