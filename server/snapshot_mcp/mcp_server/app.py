"""Composition root: builds the MCP server from the settings."""

from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import anyio
from mcp.server.apps import EXTENSION_ID
from mcp.server.caching import CacheableMethod, CacheHint
from mcp.server.lowlevel import Server
from mcp.server.request_state import RequestStateBoundary
from mcp_types import DiscoverResult, RequestParams, ServerCapabilities
from mcp_types.version import MODERN_PROTOCOL_VERSIONS

from snapshot_mcp import __version__
from snapshot_mcp.cloud.circuit_breaker import CircuitBreaker
from snapshot_mcp.core.clock import SYSTEM_CLOCK, Clock
from snapshot_mcp.core.errors import ConfigurationError
from snapshot_mcp.core.private_files import create_private_folder
from snapshot_mcp.mcp_server.completions import CompletionHandler
from snapshot_mcp.mcp_server.context import RequestContext
from snapshot_mcp.mcp_server.elicitation import request_state_security
from snapshot_mcp.mcp_server.instructions import instructions
from snapshot_mcp.mcp_server.panel.tools import select_panel_tools
from snapshot_mcp.mcp_server.prompt_files import load_prompts
from snapshot_mcp.mcp_server.prompts import PromptHandlers
from snapshot_mcp.mcp_server.resources import ResourceHandlers
from snapshot_mcp.mcp_server.subscriptions import Subscriptions
from snapshot_mcp.mcp_server.tools.declaration import ToolDeclaration
from snapshot_mcp.mcp_server.tools.handlers import ToolHandlers
from snapshot_mcp.mcp_server.tools.toolsets import TOOLS, select_tools
from snapshot_mcp.operations import Operations, OperationsFactory
from snapshot_mcp.settings.environment import CLOUD_FILE, EMBEDDED_API_KEY, EMBEDDED_URL, Settings

if TYPE_CHECKING:
    import httpx

    from snapshot_mcp.cloud.connection import Connection
    from snapshot_mcp.rules.policy import Policy

LIST_CACHE_TTL_MS = 300_000
READ_CACHE_TTL_MS = 2_000

McpServer = Server[OperationsFactory]
Connect = Callable[[Settings, Clock], "Connection"]


def create_server(
    settings: Settings,
    *,
    clock: Clock = SYSTEM_CLOCK,
    connect: Connect | None = None,
    circuit: CircuitBreaker | None = None,
) -> McpServer:
    """Return the MCP server, which opens databases and connections at the first call.

    Args:
        settings: the settings.
        clock: source of time.
        connect: opens the connection to the cloud; by default the one that the settings name.
        circuit: records whether the cloud answers.

    Raises:
        ConfigurationError: a prompt file or the policy file is not valid.
    """
    policy = _load_policy(settings)
    tools = _select_tools(settings, policy)
    listed = frozenset(tool.name for tool in tools)
    loaded_prompts = load_prompts(tools=listed)
    shows_panel = any(tool.panel == "shows" for tool in tools)
    resources = ResourceHandlers(
        policy, listed, embedded=settings.embedded, shows_panel=shows_panel
    )
    subscriptions = Subscriptions(resources.templates)
    tool_handlers = ToolHandlers(
        [*tools, *select_panel_tools(listed)],
        subscriptions.notify_resource_updated,
        embedded=settings.embedded,
    )
    prompts = PromptHandlers(loaded_prompts)
    server = McpServer(
        name="snapshot-mcp",
        title="Snapshots",
        version=__version__,
        instructions=instructions(listed, embedded=settings.embedded, read_only=settings.read_only),
        cache_hints=_cache_hints(),
        lifespan=_lifespan(settings, policy, clock, circuit, connect),
        get_tool_input_schema=tool_handlers.input_schema,
        on_list_tools=tool_handlers.list_tools,
        on_call_tool=tool_handlers.call_tool,
        on_list_resources=resources.list_resources,
        on_list_resource_templates=resources.list_templates,
        on_read_resource=resources.read_resource,
        on_subscribe_resource=subscriptions.subscribe_connection,
        on_unsubscribe_resource=subscriptions.unsubscribe_connection,
        on_subscriptions_listen=subscriptions.listen,
        on_list_prompts=prompts.list_prompts,
        on_get_prompt=prompts.get_prompt,
        on_completion=CompletionHandler(loaded_prompts, resources.templates, listed).complete,
    )
    if shows_panel:
        server.extensions[EXTENSION_ID] = {}
    _seal_request_state(server, settings)
    server.add_request_handler("server/discover", RequestParams, _discover_handler(server))
    return server


def _select_tools(settings: Settings, policy: "Policy | None") -> list[ToolDeclaration]:
    """Return the tools that the toolsets, the mode and the policy allow."""
    selected = select_tools(read_only=settings.read_only, toolsets=settings.toolsets)
    if policy is None:
        return selected
    from snapshot_mcp.rules.policy import allows_tool  # noqa: PLC0415 - only for a policy

    return [tool for tool in selected if allows_tool(policy, tool.name)]


def _seal_request_state(server: McpServer, settings: Settings) -> None:
    """Encrypt the state that a client carries between the rounds of a question."""
    security = request_state_security(settings.find_signing_key().load)
    server.middleware.append(RequestStateBoundary(security, default_audience=server.name))


def _discover_handler(
    server: McpServer,
) -> Callable[[RequestContext, RequestParams], Awaitable[DiscoverResult]]:
    """Return a handler of server/discover that does not declare `listChanged`.

    The SDK declares it for each server with `subscriptions/listen`, but the lists of a process
    never change.
    """

    async def discover(request: RequestContext, _params: RequestParams) -> DiscoverResult:
        declared = server.get_capabilities(protocol_version=request.protocol_version)
        return DiscoverResult(
            supported_versions=list(MODERN_PROTOCOL_VERSIONS),
            capabilities=_without_list_changes(declared),
            instructions=server.instructions,
        )

    return discover


def _without_list_changes(declared: ServerCapabilities) -> ServerCapabilities:
    lists = ("tools", "prompts", "resources")
    capabilities = {name: getattr(declared, name) for name in lists}
    return declared.model_copy(
        update={
            name: capability.model_copy(update={"list_changed": None})
            for name, capability in capabilities.items()
            if capability is not None
        }
    )


def _lifespan(
    settings: Settings,
    policy: "Policy | None",
    clock: Clock,
    circuit: CircuitBreaker | None,
    connect: Connect | None,
) -> Callable[[McpServer], AbstractAsyncContextManager[OperationsFactory]]:
    circuit, connect = circuit or CircuitBreaker(), connect or connect_cloud

    @asynccontextmanager
    async def lifespan(_: McpServer) -> AsyncGenerator[OperationsFactory]:
        async with AsyncExitStack() as stack:
            yield _open_once(lambda: _open(settings, policy, clock, circuit, connect, stack))

    return lifespan


def _cache_hints() -> Mapping[CacheableMethod, CacheHint]:
    """Return how long a client may cache results, for its own user only.

    The lists of a process never change, but those of a restarted one may differ. A resource may
    change at any moment.
    """
    lists = CacheHint(LIST_CACHE_TTL_MS, "private")
    return {
        "tools/list": lists,
        "prompts/list": lists,
        "resources/list": lists,
        "resources/templates/list": lists,
        "server/discover": lists,
        "resources/read": CacheHint(READ_CACHE_TTL_MS, "private"),
    }


def connect_cloud(settings: Settings, clock: Clock) -> "Connection":
    """Return the connection to the cloud: the real one, or the embedded one without an API key.

    Raises:
        ConfigurationError: the environment or the data folder does not allow it.
    """
    from snapshot_mcp.cloud.connection import create_network_transport  # noqa: PLC0415 - at first use

    if settings.embedded:
        return connection_over(embedded_transport(settings, clock), settings)
    return connection_over(create_network_transport(settings.api_url), settings)


def embedded_transport(settings: Settings, clock: Clock) -> "httpx.AsyncBaseTransport":
    """Return the transport to the embedded cloud, which runs in this process.

    Raises:
        ConfigurationError: the data folder cannot be created.
    """
    import httpx  # noqa: PLC0415 - the first call pays for it, not the start

    from snapshot_mcp.sandbox.app import create_app  # noqa: PLC0415 - as above

    database = _create_folder(settings.data_folder()) / CLOUD_FILE
    if settings.embedded_misbehaviour:
        from snapshot_mcp.mcp_server.misbehaving_transport import misbehaving_transport  # noqa: PLC0415 - on request

        return misbehaving_transport(database, settings.embedded_misbehaviour, clock)
    app = create_app(database=database, api_key=EMBEDDED_API_KEY, now=clock.now)
    return httpx.ASGITransport(app, raise_app_exceptions=False)


def connection_over(transport: "httpx.AsyncBaseTransport", settings: Settings) -> "Connection":
    """Return the connection to the cloud that the settings name, over this transport."""
    from snapshot_mcp.cloud.connection import Connection  # noqa: PLC0415 - at first use

    if settings.api_key is None:
        return Connection(transport, EMBEDDED_URL, EMBEDDED_API_KEY, settings.timeout)
    key = settings.api_key.get_secret_value()
    return Connection(transport, settings.api_url, key, settings.timeout)


def _create_folder(folder: Path) -> Path:
    try:
        create_private_folder(folder)
    except OSError as error:
        raise ConfigurationError(
            f"The data folder cannot be created ({type(error).__name__}).",
            "Set SNAPSHOT_MCP_DATA_DIR to a writable folder and restart the server.",
        ) from error
    return folder


def _load_policy(settings: Settings) -> "Policy | None":
    """Return the operator's policy; None without a file, so that the start need not import it."""
    if settings.policy is None:
        return None
    from snapshot_mcp.settings.policy_file import load_policy  # noqa: PLC0415 - only for a policy

    return load_policy(settings.policy, [tool.name for tool in TOOLS])


def _open_once(factory: OperationsFactory) -> OperationsFactory:
    lock = anyio.Lock()
    opened: list[Operations] = []

    async def open_operations() -> Operations:
        if not opened:
            async with lock:
                if not opened:
                    opened.append(await factory())
        await opened[0].settle_again()
        return opened[0]

    return open_operations


async def _open(
    settings: Settings,
    policy: "Policy | None",
    clock: Clock,
    circuit: CircuitBreaker,
    connect: Connect,
    stack: AsyncExitStack,
) -> Operations:
    from snapshot_mcp.mcp_server.dependencies import open_operations  # noqa: PLC0415 - at first use
    from snapshot_mcp.rules.policy import Policy  # noqa: PLC0415 - as above

    connection = await stack.enter_async_context(connect(settings, clock))
    return await open_operations(settings, policy or Policy(), clock, circuit, connection, stack)
