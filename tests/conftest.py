"""Fixtures with the real stack: MCP client -> server -> HTTP client -> embedded cloud on disk.

Tests replace only the clock, which they advance, and the transport, which records requests and
injects faults.
"""

import gc
import importlib
import json
import os
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator, Iterable, Sequence
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import anyio.lowlevel
import httpx
import jsonschema_rs
import pytest
from jsonschema import Draft202012Validator, ValidationError
from mcp import Client, ClientSession
from mcp.client.extension import advertise
from mcp.client.session import ElicitationFnT
from mcp.server.apps import APP_MIME_TYPE, EXTENSION_ID
from mcp_types import CallToolResult, TextContent

from snapshot_mcp.cloud.api import ApiClient
from snapshot_mcp.cloud.circuit_breaker import CircuitBreaker
from snapshot_mcp.cloud.connection import Connection
from snapshot_mcp.cloud.scheduler import RequestScheduler
from snapshot_mcp.core.clock import Clock
from snapshot_mcp.ledger.chain import Row
from snapshot_mcp.ledger.sqlite import open_sqlite_ledger
from snapshot_mcp.mcp_server.app import (
    connection_over,
    create_server,
    embedded_transport,
)
from snapshot_mcp.mcp_server.context import EMBEDDED_NOTE
from snapshot_mcp.settings.environment import CLOUD_FILE, LEDGER_FILE, Settings
from tests.markers import ERAS, add_derived_markers
from tests.scale import register_profiles

if TYPE_CHECKING:
    from tests.postgres.server import Server
    from tests.unit.ledger.ledger_kinds import LedgerKind

register_profiles()
gc.disable()  # until the tests are collected: they are thousands of objects, and none is garbage

COVERAGE_VARIABLES = ("COVERAGE_PROCESS_CONFIG", "COVERAGE_PROCESS_START")
CLOUD_URL = "https://cloud.example/v1"
SHOWS_PANELS = [advertise(EXTENSION_ID, {"mimeTypes": [APP_MIME_TYPE]})]
Fault = Callable[[httpx.Request], Awaitable[httpx.Response | None]]


@pytest.hookimpl(tryfirst=True)  # before pytest selects tests by their markers
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    add_derived_markers(items)


def pytest_collection_finish() -> None:
    """Exclude what exists by now from garbage collection, which it would slow down."""
    gc.collect()
    gc.freeze()
    gc.enable()


@pytest.fixture(scope="session")
def postgres() -> Generator["Server"]:
    """Start a real PostgreSQL when the first test needs one."""
    from tests.postgres.server import programs, running_server  # noqa: PLC0415 - few tests need it

    installed = programs()
    if installed is None:
        pytest.fail("PostgreSQL is not installed: install it, or leave out -m postgres")
    with running_server(installed) as server:
        yield server


@pytest.fixture(params=["file", pytest.param("postgres", marks=pytest.mark.postgres)])
def ledger_kind(request: pytest.FixtureRequest) -> Generator["LedgerKind"]:
    """Each kind of ledger in turn, for the guarantees of both."""
    from tests.unit.ledger.ledger_kinds import DatabaseLedgers, FileLedgers  # noqa: PLC0415 - few tests need it

    if request.param == "file":
        yield FileLedgers()
        return
    with ExitStack() as stack:
        yield DatabaseLedgers(request.getfixturevalue("postgres"), stack)


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


class OutputValidator:
    """Checks output like the validator of the MCP client, which takes a sixth of a test's time."""

    def __init__(self, schema: dict[str, Any]) -> None:
        Draft202012Validator.check_schema(schema)
        self._fast: Any = jsonschema_rs.Draft202012Validator(schema)
        self._explaining: Any = Draft202012Validator(schema)

    def iter_errors(self, content: object) -> Iterable[ValidationError]:
        return [] if self._fast.is_valid(content) else self._explaining.iter_errors(content)


@pytest.fixture(scope="session", autouse=True)
def share_output_validators() -> Generator[None]:
    """Share the validators of the tools' output schemas among the clients of this process."""
    validators = dict[str, OutputValidator]()

    def shared_validator(_: object, name: str, schema: dict[str, Any]) -> OutputValidator:
        key = name + json.dumps(schema)
        if key not in validators:
            validators[key] = OutputValidator(schema)
        return validators[key]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ClientSession, "_output_schema_validator", shared_validator)
        yield


@pytest.fixture(scope="session", autouse=True)
def measuring() -> Generator[dict[str, str]]:
    """Remove the variables that make coverage measure the processes that tests start; yield them.

    Measuring nearly doubles the time of a process. The processes of the tests that use `measured`,
    and those that several tests share, run every line that only a separate process can run.
    """
    taken = {name: os.environ.pop(name) for name in COVERAGE_VARIABLES if name in os.environ}
    yield taken
    os.environ.update(taken)


@pytest.fixture
def measured(measuring: dict[str, str]) -> Generator[None]:
    """Make coverage measure the processes that this test starts."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in measuring.items():
            patch.setenv(name, value)
        yield


class ManualClock:
    """A clock that moves only when the code under test sleeps or a test advances it."""

    def __init__(self) -> None:
        self.time = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)

    def now(self) -> datetime:
        return self.time

    def advance(self, **delta: float) -> None:
        self.time += timedelta(**delta)

    async def sleep(self, seconds: float) -> None:
        await anyio.lowlevel.checkpoint()
        self.advance(seconds=seconds)

    def monotonic(self) -> float:
        return self.time.timestamp()

    @property
    def clock(self) -> Clock:
        return Clock(self.now, self.sleep, self.monotonic)


class RecordingTransport(httpx.AsyncBaseTransport):
    """Passes requests on to the embedded cloud, records them, and injects the faults of a test."""

    def __init__(self, inner: httpx.AsyncBaseTransport) -> None:
        self.inner = inner
        self.requests: list[httpx.Request] = []
        self.before: Fault | None = None
        self.after: Callable[[httpx.Request, httpx.Response], Awaitable[httpx.Response]] | None = (
            None
        )

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        if self.before is not None and (answer := await self.before(request)) is not None:
            return answer
        response = await self.inner.handle_async_request(request)
        return response if self.after is None else await self.after(request, response)

    async def aclose(self) -> None:
        await self.inner.aclose()

    @property
    def writes(self) -> list[str]:
        """Method and path of every request that could change something."""
        return [
            f"{request.method} {request.url.path}"
            for request in self.requests
            if request.method != "GET"
        ]


@asynccontextmanager
async def open_api_client(
    transport: httpx.AsyncBaseTransport, *, seconds: float = 10, clock: Clock | None = None
) -> AsyncGenerator[ApiClient]:
    """Open an API client over this transport, with a clock that moves only when it sleeps."""
    clock = clock or ManualClock().clock
    async with Connection(transport, CLOUD_URL, "key", seconds) as connection:
        yield ApiClient(
            connection, RequestScheduler(clock, CircuitBreaker()), clock, timeout=seconds
        )


@dataclass
class World:
    """A server with its clock, its cloud, and the requests between them."""

    folder: Path
    manual_clock: ManualClock = field(default_factory=ManualClock)
    settings: Settings = field(default_factory=Settings)
    transports: list[RecordingTransport] = field(default_factory=list[RecordingTransport])
    before: Fault | None = None
    after: Callable[[httpx.Request, httpx.Response], Awaitable[httpx.Response]] | None = None

    def __post_init__(self) -> None:
        self.settings = self.settings.model_copy(update={"data_dir": self.folder})

    def connect(self, settings: Settings, clock: Clock) -> Connection:
        watched = RecordingTransport(embedded_transport(settings, clock))
        watched.before, watched.after = self.before, self.after
        self.transports.append(watched)
        return connection_over(watched, settings)

    @asynccontextmanager
    async def client(
        self,
        mode: str = "2026-07-28",
        elicitation_callback: ElicitationFnT | None = None,
        *,
        panel: bool = False,
    ) -> AsyncGenerator[Client]:
        """Open an MCP client of a new server on the data folder; `panel` makes it show panels."""
        server = create_server(self.settings, clock=self.manual_clock.clock, connect=self.connect)
        async with Client(
            server,
            mode=mode,
            elicitation_callback=elicitation_callback,
            extensions=SHOWS_PANELS if panel else None,
        ) as client:
            yield client

    def fail(self, fault: Fault | None) -> None:
        """Answer requests with `fault`, on current and later connections."""
        self.before = fault
        for transport in self.transports:
            transport.before = fault

    def tamper(
        self, change: Callable[[httpx.Request, httpx.Response], Awaitable[httpx.Response]] | None
    ) -> None:
        """Replace the cloud's responses by those of `change`, on current and later connections."""
        self.after = change
        for transport in self.transports:
            transport.after = change

    @property
    def requests(self) -> Sequence[httpx.Request]:
        return [request for transport in self.transports for request in transport.requests]

    @property
    def writes(self) -> list[str]:
        """Method and path of every request that could change something."""
        return [write for transport in self.transports for write in transport.writes]

    async def ledger(self) -> list[Row]:
        return await open_sqlite_ledger(self.folder / LEDGER_FILE, self.manual_clock.now).rows()

    async def attempts(self) -> list[Row]:
        """Return the rows of the attempts that were sent, and of their outcomes."""
        ends = ("sent", "done", "failed", "unknown")
        return [row for row in await self.ledger() if row.event in ends]

    @property
    def cloud_file(self) -> Path:
        return self.folder / CLOUD_FILE


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


@pytest.fixture(params=ERAS)
async def client(world: World, request: pytest.FixtureRequest) -> AsyncGenerator[Client]:
    """Open a client of each protocol era in turn."""
    async with world.client(request.param) as client:
        yield client


def result_text(result: CallToolResult) -> str:
    """Return the text of a result."""
    return "\n".join(part.text for part in result.content if isinstance(part, TextContent))


async def call_tool_with_text(
    client: Client, tool: str, /, **arguments: object
) -> tuple[dict[str, Any], str]:
    """Call a tool that must succeed; return its structured content and its text."""
    result = await client.call_tool(tool, dict(arguments))
    assert not result.is_error, result_text(result)
    content: object = result.structured_content
    assert isinstance(content, dict)
    return cast("dict[str, Any]", content), result_text(result)


async def call_tool(client: Client, tool: str, /, **arguments: object) -> dict[str, Any]:
    """Call a tool that must succeed; return its structured content."""
    return (await call_tool_with_text(client, tool, **arguments))[0]


async def call_tool_error(client: Client, tool: str, /, **arguments: object) -> str:
    """Call a tool that must fail; return the text of the error, without the note on the cloud."""
    result = await client.call_tool(tool, dict(arguments))
    assert result.is_error, result_text(result)
    content = cast("dict[str, Any]", result.structured_content or {})
    assert content.keys() <= {"retry_after", "embedded_cloud"}
    return result_text(result).removesuffix("\n" + EMBEDDED_NOTE)


def count_tokens(text: str) -> int:
    """Return the number of o200k tokens of `text`."""
    vocabulary: Any = importlib.import_module("rs_bpe")  # it has no types
    return vocabulary.openai.o200k_base().count(text)
