"""The composition root: settings in, MCPServer out. The only place that knows every room."""

import sys
from collections.abc import AsyncGenerator, Callable, Collection, Generator, Mapping
from contextlib import (
    AbstractAsyncContextManager,
    AsyncExitStack,
    asynccontextmanager,
    contextmanager,
)
from pathlib import Path
from typing import TYPE_CHECKING

import anyio
from mcp.server.caching import CacheableMethod, CacheHint
from mcp.server.mcpserver import MCPServer

from snapshot_mcp import __version__
from snapshot_mcp.cloud.circuit_breaker import CircuitBreaker
from snapshot_mcp.consent.signing_key import build_key_loader
from snapshot_mcp.core.clock import SYSTEM_CLOCK, Clock
from snapshot_mcp.core.errors import ConfigurationError
from snapshot_mcp.mcp_server.completions import serve_completions
from snapshot_mcp.mcp_server.elicitation import request_state_security
from snapshot_mcp.mcp_server.instructions import instructions
from snapshot_mcp.mcp_server.panel.binding import (
    PanelToolFilter,
    mark_panel_tools,
    panel_extension,
)
from snapshot_mcp.mcp_server.panel.tools import panel_tools
from snapshot_mcp.mcp_server.prompts import load_prompts
from snapshot_mcp.mcp_server.resources import add_resources
from snapshot_mcp.mcp_server.subscriptions import Subscriptions, serve_subscriptions
from snapshot_mcp.mcp_server.tools.toolsets import all_tools
from snapshot_mcp.operations import Operations, OperationsFactory
from snapshot_mcp.settings.environment import CLOUD_FILE, EMBEDDED_API_KEY, EMBEDDED_URL, Settings

if TYPE_CHECKING:
    import httpx

    from snapshot_mcp.cloud.connection import Connection
    from snapshot_mcp.rules.policy import Policy

LIST_CACHE_TTL_MS = 300_000
READ_CACHE_TTL_MS = 2_000

Connect = Callable[[Settings, Clock], "Connection"]


def create_server(
    settings: Settings,
    *,
    clock: Clock = SYSTEM_CLOCK,
    connect: Connect | None = None,
    circuit: CircuitBreaker | None = None,
) -> MCPServer[OperationsFactory]:
    """The MCP server. Nothing touches a database or the network before the first call.

    Args:
        settings: what the environment says.
        clock: the time, and the way to wait.
        connect: makes the way to the cloud; the default is to the one that the settings name.
        circuit: knows whether the cloud answers, for whoever wants to be told beside the tools.

    Raises:
        ConfigError: a prompt file or the policy file is not valid.
    """
    policy = _policy(settings)

    allows = _allows(policy)
    offered = all_tools(read_only=settings.read_only, toolsets=settings.toolsets)
    tools = [tool for tool in offered if allows(tool.name)]
    names = {tool.name for tool in tools}
    for_panel = panel_tools(frozenset(names))
    subscriptions = Subscriptions()
    with _left_out("rich.console"):  # the SDK would load it for a log of its own
        server = MCPServer[OperationsFactory](
            name="snapshot-mcp",
            title="Snapshots",
            version=__version__,
            instructions=instructions(
                names, embedded=settings.embedded, read_only=settings.read_only
            ),
            tools=[*mark_panel_tools(tools), *for_panel],
            extensions=[panel_extension()],
            subscriptions=subscriptions,
            lifespan=_lifespan(
                settings, policy, clock, circuit or CircuitBreaker(), connect or connect_cloud
            ),
            log_level="WARNING",
            request_state_security=request_state_security(build_key_loader(settings)),
            cache_hints=_cache_hints(),
        )
    server.middleware.append(PanelToolFilter(tool.name for tool in for_panel))
    serve_subscriptions(server, subscriptions)
    _add_other_ways_in(server, names, policy, allows)
    return server


def _lifespan(
    settings: Settings,
    policy: "Policy | None",
    clock: Clock,
    circuit: CircuitBreaker,
    connect: Connect,
) -> Callable[[MCPServer[OperationsFactory]], AbstractAsyncContextManager[OperationsFactory]]:
    @asynccontextmanager
    async def lifespan(_: MCPServer[OperationsFactory]) -> AsyncGenerator[OperationsFactory]:
        async with AsyncExitStack() as stack:
            yield _open_once(lambda: _open(settings, policy, clock, circuit, connect, stack))

    return lifespan


def _add_other_ways_in(
    server: MCPServer[OperationsFactory],
    tools: Collection[str],
    policy: "Policy | None",
    allows: Callable[[str], bool],
) -> None:
    prompts = load_prompts(tools=tools)
    for prompt in prompts:
        server.add_prompt(prompt)
    addresses = add_resources(server, policy, allows)
    serve_completions(server, prompts, addresses)


def _cache_hints() -> "Mapping[CacheableMethod, CacheHint]":
    """How long a client may keep what it was told; never for somebody else.

    The lists are those of this process to its end; a restarted one may have others. A resource is
    as it was read a moment ago.
    """
    kept, read = CacheHint(LIST_CACHE_TTL_MS, "private"), CacheHint(READ_CACHE_TTL_MS, "private")
    return {
        "tools/list": kept,
        "prompts/list": kept,
        "resources/list": kept,
        "resources/templates/list": kept,
        "server/discover": kept,
        "resources/read": read,
    }


@contextmanager
def _left_out(module: str) -> Generator[None]:
    """Let `module` look as if it were not installed, unless somebody has loaded it already."""
    if module in sys.modules:
        yield
        return
    sys.modules[module] = None  # pyright: ignore[reportArgumentType] - the import system's word for it
    try:
        yield
    finally:
        del sys.modules[module]


def connect_cloud(settings: Settings, clock: Clock) -> "Connection":
    """One pooled way for the server's life: to the real cloud, or to the embedded one.

    Raises:
        ConfigError: the environment or the data folder does not allow it.
    """
    from snapshot_mcp.cloud.connection import create_network_transport  # noqa: PLC0415 - at first use

    if settings.embedded:
        return connection_over(embedded_transport(settings, clock), settings)
    return connection_over(create_network_transport(settings.api_url), settings)


def embedded_transport(settings: Settings, clock: Clock) -> "httpx.AsyncBaseTransport":
    """The way to the embedded cloud, in this process.

    Raises:
        ConfigError: the data folder cannot be made.
    """
    import httpx  # noqa: PLC0415 - the first call pays for it, not the start

    from snapshot_mcp.sandbox.app import create_app  # noqa: PLC0415 - as above

    database = _writable(settings.data_folder()) / CLOUD_FILE
    app = create_app(database=database, api_key=EMBEDDED_API_KEY, now=clock.now)
    return httpx.ASGITransport(app, raise_app_exceptions=False)


def connection_over(transport: "httpx.AsyncBaseTransport", settings: Settings) -> "Connection":
    """The cloud that the settings name, reached by this transport."""
    from snapshot_mcp.cloud.connection import Connection  # noqa: PLC0415 - at first use

    if settings.api_key is None:
        return Connection(transport, EMBEDDED_URL, EMBEDDED_API_KEY, settings.timeout)
    key = settings.api_key.get_secret_value()
    return Connection(transport, settings.api_url, key, settings.timeout)


def _writable(folder: Path) -> Path:
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigurationError(
            f"The data folder cannot be made ({type(error).__name__}).",
            "Set SNAPSHOT_MCP_DATA_DIR to a folder that may be written, and restart the server.",
        ) from error
    return folder


def _policy(settings: Settings) -> "Policy | None":
    """The operator's policy; None where there is no file, so that the start need not know of it."""
    if settings.policy is None:
        return None
    from snapshot_mcp.settings.policy_file import load_policy  # noqa: PLC0415 - only a policy needs it

    return load_policy(settings.policy)


def _allows(policy: "Policy | None") -> Callable[[str], bool]:
    """Whether the operator allows the tool of this name."""
    if policy is None:
        return lambda _: True
    from snapshot_mcp.rules.policy import allows_tool  # noqa: PLC0415 - only a policy needs it

    return lambda name: allows_tool(policy, name)


def _open_once(open_them: OperationsFactory) -> OperationsFactory:
    lock = anyio.Lock()
    opened: list[Operations] = []

    async def open_operations() -> Operations:
        if not opened:
            async with lock:
                if not opened:
                    opened.append(await open_them())
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
    from snapshot_mcp.rules.policy import Policy  # noqa: PLC0415 - at first use

    connection = await stack.enter_async_context(connect(settings, clock))
    return await open_operations(settings, policy or Policy(), clock, circuit, connection, stack)
