"""Names of errors in ledger rows and metrics stay as earlier versions wrote them."""

from collections.abc import Generator

import httpx
import pytest

from snapshot_mcp.core import errors
from snapshot_mcp.core.errors import CloudError, error_kind
from snapshot_mcp.core.instrumentation import OBSERVER, Observer, observe_call
from tests.conftest import World, call_tool, call_tool_error

KINDS: dict[type[Exception], str] = {
    errors.ConfigurationError: "ConfigurationError",
    errors.RefusedError: "RefusedError",
    errors.CloudError: "CloudError",
    errors.BadRequestError: "BadRequest",
    errors.UnauthorizedError: "Unauthorized",
    errors.ForbiddenError: "Forbidden",
    errors.NotFoundError: "NotFound",
    errors.ConflictError: "Conflict",
    errors.RateLimitedError: "RateLimited",
    errors.UnavailableError: "Unavailable",
    errors.OutcomeUnknownError: "OutcomeUnknown",
    errors.NotAcceptedError: "NotAccepted",
    errors.NotDoneError: "NotDone",
    errors.ProtocolError: "ProtocolError",
    errors.LedgerError: "LedgerError",
    OSError: "OSError",
}


@pytest.fixture
def observed() -> Generator[list[str]]:
    """The kinds of the errors that are reported as metrics."""
    kinds: list[str] = []

    class RecordingObserver(Observer):
        def record_call(self, tool: str, seconds: float, error: str) -> None:  # noqa: ARG002 - the protocol's
            kinds.append(error)

    token = OBSERVER.set(RecordingObserver())  # pyright: ignore[reportAbstractUsage] - only calls are observed
    yield kinds
    OBSERVER.reset(token)


def test_every_cloud_error_is_listed_here() -> None:
    assert {error for error in KINDS if issubclass(error, CloudError)} == {
        CloudError,
        *CloudError.__subclasses__(),
    }


@pytest.mark.parametrize("error", KINDS)
def test_the_kind_of_a_cloud_error_has_no_suffix(
    error: type[Exception], observed: list[str]
) -> None:
    assert error_kind(error("message")) == KINDS[error]
    with pytest.raises(error), observe_call("list_snapshots"):
        raise error("message")
    assert observed == [KINDS[error]]


async def test_a_failed_row_names_the_kind_of_error_as_before(world: World) -> None:
    async def conflict(request: httpx.Request) -> httpx.Response | None:
        return httpx.Response(409, json={}) if request.method == "POST" else None

    async with world.client() as client:
        vms = (await call_tool(client, "list_virtual_machines"))["virtual_machines"]
        world.fail(conflict)
        arguments = {"vm_id": vms[0]["id"], "name": "new", "allow_interruption": True}
        await call_tool_error(client, "create_snapshot", **arguments)
    rows = await world.attempts()
    assert [(row.event, row.reason) for row in rows] == [("sent", ""), ("failed", "Conflict")]
