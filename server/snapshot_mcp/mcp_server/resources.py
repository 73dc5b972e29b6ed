"""What clients can read: the policy, one snapshot, the snapshots of a VM; as JSON.

They hold what the tools answer. Failures are told in our words: what the SDK makes of any other
error names the address only.
"""

import re
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

from mcp.server.mcpserver import MCPServer
from mcp.server.mcpserver.context import Context
from mcp.server.mcpserver.exceptions import ResourceError, ResourceNotFoundError
from mcp.server.mcpserver.resources import FunctionResource

from snapshot_mcp.core.errors import NotFoundError, SnapshotMcpError
from snapshot_mcp.core.uris import POLICY_URI, SNAPSHOT_URI_TEMPLATE, VM_SNAPSHOTS_URI_TEMPLATE
from snapshot_mcp.mcp_server.context import on_behalf_of
from snapshot_mcp.models.cloud import MAX_ID, FrozenModel
from snapshot_mcp.operations import Operations, OperationsFactory
from snapshot_mcp.operations.requests import SnapshotFilter

if TYPE_CHECKING:
    from snapshot_mcp.rules.policy import Policy

MAX_LISTED = 100
_JSON = "application/json"
_ID = re.compile(r"[1-9][0-9]{0,18}")

ReadContext = Context[OperationsFactory, Any]


def add_resources(
    server: MCPServer[OperationsFactory], policy: "Policy | None", allows: Callable[[str], bool]
) -> list[str]:
    """Let clients read; the templates of the addresses that they may read.

    Args:
        server: where the resources are added.
        policy: what the operator forbids; None for nothing.
        allows: whether the policy allows the tool of this name.
    """
    server.add_resource(_policy_resource(policy))
    allowed = [it for it in _TEMPLATES if allows(it.like_tool)]
    for it in allowed:
        server.resource(
            it.address, name=it.name, title=it.title, description=it.description, mime_type=_JSON
        )(it.read)
    return [it.address for it in allowed]


async def read_snapshot(id: str, ctx: ReadContext) -> str:  # noqa: A002 - named so by its address
    """One snapshot, as inspect_snapshot answers it."""
    async with _reading(ctx) as operations:
        return _json(await operations.queries.snapshot(_number(id)))


async def read_vm_snapshots(id: str, ctx: ReadContext) -> str:  # noqa: A002 - as above
    """The newest snapshots of one VM, as list_snapshots answers them."""
    async with _reading(ctx) as operations:
        wanted = SnapshotFilter(vm_id=_number(id))
        return _json(await operations.queries.snapshots(wanted, MAX_LISTED, ""))


class _Template(NamedTuple):
    """What can be read under addresses of one form.

    `like_tool` answers the same: where the policy forbids it, this cannot be read either.
    """

    address: str
    name: str
    title: str
    description: str
    like_tool: str
    read: Callable[[str, ReadContext], Awaitable[str]]


_TEMPLATES = (
    _Template(
        SNAPSHOT_URI_TEMPLATE,
        "snapshot",
        "A snapshot",
        "One snapshot whole, and what follows from it",
        "inspect_snapshot",
        read_snapshot,
    ),
    _Template(
        VM_SNAPSHOTS_URI_TEMPLATE,
        "vm_snapshots",
        "The snapshots of a VM",
        f"The newest snapshots of one VM, {MAX_LISTED} at most",
        "list_snapshots",
        read_vm_snapshots,
    ),
)


@asynccontextmanager
async def _reading(context: ReadContext) -> AsyncGenerator[Operations]:
    try:
        with on_behalf_of(context):
            yield await context.request_context.lifespan_context()
    except NotFoundError as error:
        raise ResourceNotFoundError(str(error)) from error
    except SnapshotMcpError as error:
        raise ResourceError(str(error)) from error


def _number(text: str) -> int:
    if not _ID.fullmatch(text) or int(text) > MAX_ID:
        raise ResourceNotFoundError(
            "The id in the address must be a whole number above 0, such as 1701. Nothing was read."
        )
    return int(text)


def _json(answer: FrozenModel) -> str:
    return answer.model_dump_json(exclude_none=True)


def _policy_resource(policy: "Policy | None") -> FunctionResource:
    def read() -> str:
        from snapshot_mcp.rules.policy import Policy  # noqa: PLC0415 - as above
        from snapshot_mcp.settings.policy_file import dump_policy  # noqa: PLC0415 - only a reader needs it

        return dump_policy(policy or Policy())

    return FunctionResource(
        uri=POLICY_URI,
        name="policy",
        title="The operator's policy",
        description="What this server never does, whoever asks and agrees",
        mime_type=_JSON,
        fn=read,
    )
