r"""Resources: the policy, the panel, one snapshot, and the snapshots of one VM.

Snapshots are JSON as the tools return it. Those of the embedded cloud have `embedded_cloud: true`.
Clients may show the JSON as text, so in a value with markup, punctuation is written as `\uXXXX`.
"""

import json
import logging
import re
from collections.abc import Awaitable, Callable, Collection, Mapping
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
from mcp_types.version import MODERN_PROTOCOL_VERSIONS

from snapshot_mcp.core.errors import NotFoundError, SnapshotMcpError
from snapshot_mcp.core.sanitize import contains_markup
from snapshot_mcp.core.uris import (
    PANEL_URI,
    POLICY_URI,
    SNAPSHOT_URI_TEMPLATE,
    VM_SNAPSHOTS_URI_TEMPLATE,
)
from snapshot_mcp.mcp_server.context import RequestContext, on_behalf_of
from snapshot_mcp.mcp_server.panel.page import PANEL_RESOURCE, read_page
from snapshot_mcp.mcp_server.tools.declaration import EMBEDDED_FIELD, MARKUP_FIELD
from snapshot_mcp.models.cloud import MAX_ID, FrozenModel
from snapshot_mcp.operations import Operations
from snapshot_mcp.operations.requests import SnapshotFilter

if TYPE_CHECKING:
    from snapshot_mcp.rules.policy import Policy

MAX_LISTED = 100
MAX_URI_LENGTH = 10_000
_JSON = "application/json"
_ID = re.compile(r"[1-9][0-9]{0,18}")
_JSON_TEXT = re.compile(r'"(?:[^"\\]|\\.)*"')
_PUNCTUATION = re.compile(r"\\.|[!#-/:-@\[\]^_`{|}~]")
_RESOURCE_NOT_FOUND = -32002
"""Code up to 2025-11-25. Later versions use INVALID_PARAMS and reserve this one."""

logger = logging.getLogger(__name__)


class UnknownResourceError(SnapshotMcpError):
    """There is no resource with this URI."""


class _Template(NamedTuple):
    """A URI template, and the function that reads its resources.

    Attributes:
        definition: the definition that clients see.
        tool: the tool with the same result, without which there is no resource either.
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
        listed: names of the tools that the server lists.
        embedded: whether the cloud is the embedded one.
        shows_panel: whether clients show the panel for one of the tools.
    """

    def __init__(
        self,
        policy: "Policy | None",
        listed: Collection[str],
        *,
        embedded: bool,
        shows_panel: bool,
    ) -> None:
        self._embedded = embedded
        self._shows_panel = shows_panel
        self._policy = policy
        self._templates = [template for template in _TEMPLATES if template.tool in listed]

    @property
    def templates(self) -> list[str]:
        """The URI templates that the server lists."""
        return [template.definition.uri_template for template in self._templates]

    async def list_resources(
        self, _request: RequestContext, _params: PaginatedRequestParams | None
    ) -> ListResourcesResult:
        """Handle resources/list."""
        panel = [PANEL_RESOURCE] if self._shows_panel else []
        return ListResourcesResult(resources=[*panel, _POLICY_RESOURCE])

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
        except (UnknownResourceError, NotFoundError) as error:
            is_modern = request.protocol_version in MODERN_PROTOCOL_VERSIONS
            code = INVALID_PARAMS if is_modern else _RESOURCE_NOT_FOUND
            raise _read_error(code, str(error), params.uri) from error
        except SnapshotMcpError as error:
            raise _read_error(INTERNAL_ERROR, str(error), params.uri) from error
        except Exception as error:
            logger.exception("a resource could not be read")
            message = "The resource could not be read."
            raise _read_error(INTERNAL_ERROR, message, params.uri) from error
        return ReadResourceResult(contents=[contents])

    async def _read(self, request: RequestContext, uri: str) -> TextResourceContents:
        if uri == PANEL_URI and self._shows_panel:
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
                return TextResourceContents(uri=uri, text=_encode(content), mime_type=_JSON)
        raise UnknownResourceError("Unknown resource. Nothing was read.")

    def _policy_json(self) -> str:
        from snapshot_mcp.rules.policy import Policy  # noqa: PLC0415 - only this resource needs it
        from snapshot_mcp.settings.policy_file import dump_policy  # noqa: PLC0415 - likewise

        return dump_policy(self._policy or Policy())


def _read_error(code: int, message: str, uri: str) -> MCPError:
    return MCPError(code=code, message=message, data={"uri": uri})


def _encode(content: Mapping[str, object]) -> str:
    text = json.dumps(content, ensure_ascii=False, separators=(",", ":"))
    encoded = _JSON_TEXT.sub(_encode_text, text)
    if encoded == text:
        return text
    return f'{encoded[:-1]},"{MARKUP_FIELD}":true}}'


def _encode_text(match: re.Match[str]) -> str:
    """Return one string of a JSON document; if it contains markup, with encoded punctuation."""
    if not contains_markup(json.loads(match[0])):
        return match[0]
    return _PUNCTUATION.sub(
        lambda found: found[0] if len(found[0]) > 1 else f"\\u{ord(found[0]):04x}", match[0]
    )


def _parse_id(text: str) -> int:
    if not _ID.fullmatch(text) or int(text) > MAX_ID:
        raise UnknownResourceError(
            "The id in the address must be a whole number above 0, such as 1701. Nothing was read."
        )
    return int(text)
