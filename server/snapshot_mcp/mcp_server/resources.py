"""Resources: the policy, the panel, one snapshot, and the snapshots of one VM.

Snapshots are JSON as the tools return it. Those of the embedded cloud have `embedded_cloud: true`.
"""

import json
import logging
import re
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, NamedTuple

from mcp.shared.exceptions import MCPError
from mcp.shared.uri_template import UriTemplate
from mcp_types import (
    INTERNAL_ERROR,
    INVALID_PARAMS,
    ListResourcesResult,
    ListResourceTemplatesResult,
    PaginatedRequestParams,
    ReadResourceRequestParams,
    ReadResourceResult,
    Resource,
    ResourceTemplate,
    TextResourceContents,
)

from snapshot_mcp.core.errors import NotFoundError, SnapshotMcpError
from snapshot_mcp.core.uris import (
    PANEL_URI,
    POLICY_URI,
    SNAPSHOT_URI_TEMPLATE,
    VM_SNAPSHOTS_URI_TEMPLATE,
)
from snapshot_mcp.mcp_server.context import RequestContext, on_behalf_of
from snapshot_mcp.mcp_server.panel.page import PANEL_RESOURCE, read_page
from snapshot_mcp.mcp_server.tools.declaration import EMBEDDED_FIELD
from snapshot_mcp.models.cloud import MAX_ID, FrozenModel
from snapshot_mcp.operations import Operations
from snapshot_mcp.operations.requests import SnapshotFilter

if TYPE_CHECKING:
    from snapshot_mcp.rules.policy import Policy

MAX_LISTED = 100
MAX_URI_LENGTH = 10_000
_JSON = "application/json"
_ID = re.compile(r"[1-9][0-9]{0,18}")

logger = logging.getLogger(__name__)


class InvalidIdError(SnapshotMcpError):
    """The id in the URI is not a positive whole number."""


class _Template(NamedTuple):
    """A URI template, and the function that reads its resources.

    Attributes:
        definition: the definition that clients see.
        tool: the tool with the same result; a policy that forbids the tool forbids the resource.
        read: returns the object with this id.
    """

    definition: ResourceTemplate
    tool: str
    read: Callable[[Operations, int], Awaitable[FrozenModel]]


async def _read_snapshot(operations: Operations, snapshot_id: int) -> FrozenModel:
    return await operations.queries.snapshot(snapshot_id)


async def _read_vm_snapshots(operations: Operations, vm_id: int) -> FrozenModel:
    return await operations.queries.snapshots(SnapshotFilter(vm_id=vm_id), MAX_LISTED, "")


_TEMPLATES = (
    _Template(
        ResourceTemplate(
            uri_template=SNAPSHOT_URI_TEMPLATE,
            name="snapshot",
            title="A snapshot",
            description="One snapshot in full, with what deleting or restoring it would affect",
            mime_type=_JSON,
        ),
        "inspect_snapshot",
        _read_snapshot,
    ),
    _Template(
        ResourceTemplate(
            uri_template=VM_SNAPSHOTS_URI_TEMPLATE,
            name="vm_snapshots",
            title="The snapshots of a VM",
            description=f"The newest snapshots of one VM, at most {MAX_LISTED}",
            mime_type=_JSON,
        ),
        "list_snapshots",
        _read_vm_snapshots,
    ),
)
_POLICY_RESOURCE = Resource(
    uri=POLICY_URI,
    name="policy",
    title="The operator's policy",
    description="What this server never does, even if a person agrees",
    mime_type=_JSON,
)


class ResourceHandlers:
    """Lists and reads the resources of one server.

    Args:
        policy: the operator's policy; None forbids nothing.
        allows: returns whether the policy allows the tool of this name.
        embedded: whether the cloud is the embedded one.
    """

    def __init__(
        self, policy: "Policy | None", allows: Callable[[str], bool], *, embedded: bool
    ) -> None:
        self._embedded = embedded
        self._policy = policy
        self._templates = [template for template in _TEMPLATES if allows(template.tool)]

    @property
    def templates(self) -> list[str]:
        """The URI templates that the server lists."""
        return [template.definition.uri_template for template in self._templates]

    async def list_resources(
        self, _request: RequestContext, _params: PaginatedRequestParams | None
    ) -> ListResourcesResult:
        """Handle resources/list."""
        return ListResourcesResult(resources=[PANEL_RESOURCE, _POLICY_RESOURCE])

    async def list_templates(
        self, _request: RequestContext, _params: PaginatedRequestParams | None
    ) -> ListResourceTemplatesResult:
        """Handle resources/templates/list."""
        definitions = [template.definition for template in self._templates]
        return ListResourceTemplatesResult(resource_templates=definitions)

    async def read_resource(
        self, request: RequestContext, params: ReadResourceRequestParams
    ) -> ReadResourceResult:
        """Handle resources/read.

        Raises:
            MCPError: there is no such resource, or it cannot be read.
        """
        if len(params.uri) > MAX_URI_LENGTH:
            message = f"The address has more than {MAX_URI_LENGTH} characters. Nothing was read."
            raise MCPError(INVALID_PARAMS, message)
        try:
            with on_behalf_of(request):
                contents = await self._read(request, params.uri)
        except (InvalidIdError, NotFoundError) as error:
            raise _read_error(INVALID_PARAMS, str(error), params.uri) from error
        except SnapshotMcpError as error:
            raise _read_error(INTERNAL_ERROR, str(error), params.uri) from error
        except MCPError:
            raise
        except Exception as error:
            logger.exception("a resource could not be read")
            message = f"Error reading resource {params.uri}"
            raise _read_error(INTERNAL_ERROR, message, params.uri) from error
        return ReadResourceResult(contents=[contents])

    async def _read(self, request: RequestContext, uri: str) -> TextResourceContents:
        if uri == PANEL_URI:
            return await read_page()
        if uri == POLICY_URI:
            return TextResourceContents(uri=uri, text=self._policy_json(), mime_type=_JSON)
        for template in self._templates:
            matched = UriTemplate.parse(template.definition.uri_template).match(uri)
            if matched is not None:
                resource_id = _parse_id(str(matched["id"]))
                result = await template.read(await request.lifespan_context(), resource_id)
                content = result.model_dump(mode="json", exclude_none=True)
                content |= {EMBEDDED_FIELD: True} if self._embedded else {}
                text = json.dumps(content, ensure_ascii=False, separators=(",", ":"))
                return TextResourceContents(uri=uri, text=text, mime_type=_JSON)
        raise _read_error(INVALID_PARAMS, f"Unknown resource: {uri}", uri)

    def _policy_json(self) -> str:
        from snapshot_mcp.rules.policy import Policy  # noqa: PLC0415 - only this resource needs it
        from snapshot_mcp.settings.policy_file import dump_policy  # noqa: PLC0415 - likewise

        return dump_policy(self._policy or Policy())


def _read_error(code: int, message: str, uri: str) -> MCPError:
    return MCPError(code=code, message=message, data={"uri": uri})


def _parse_id(text: str) -> int:
    if not _ID.fullmatch(text) or int(text) > MAX_ID:
        raise InvalidIdError(
            "The id in the address must be a whole number above 0, such as 1701. Nothing was read."
        )
    return int(text)
