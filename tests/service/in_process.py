"""A service in this process, whose issuer can have any name."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import anyio
import httpx
from starlette.types import ASGIApp, Message

from snapshot_mcp.mcp_server.app import create_server
from snapshot_mcp.settings.environment import Settings
from snapshot_mcp.transports.http.app import create_http_app
from snapshot_mcp.transports.http.scopes import SCOPE_OF_TOOL, SCOPES
from snapshot_mcp.transports.http.settings import read_http_settings
from tests.conftest import ManualClock
from tests.service.raw_requests import modern_request
from tests.waiting import ANSWER_TIMEOUT_SECONDS


class InProcessService:
    """A service that is called without a network.

    Attributes:
        clock: the clock of the service, which began at the system's time.
    """

    def __init__(self, app: ASGIApp, clock: ManualClock) -> None:
        self.clock = clock
        self.http = httpx.AsyncClient(
            transport=httpx.ASGITransport(app),
            base_url="http://127.0.0.1",
            timeout=ANSWER_TIMEOUT_SECONDS,
        )

    async def send(
        self,
        token: str,
        method: str = "tools/list",
        params: dict[str, Any] | None = None,
        **headers: str,
    ) -> httpx.Response:
        """Send a request of the modern era."""
        message, all_headers = modern_request(token, method, params)
        return await self.http.post("/mcp", json=message, headers=all_headers | headers)

    async def granted_scopes(self, token: str) -> list[str]:
        """Return the scopes whose tools a token can see. The token must be accepted."""
        response = await self.send(token)
        assert response.status_code == 200, response.text
        return [
            scope
            for scope in SCOPES
            if any(f'"{tool}"' in response.text for tool in _tools_of(scope))
        ]

    async def rejection(self, token: str, status: int = 401) -> str:
        """Return the reason for which a token is rejected."""
        response = await self.send(token)
        assert response.status_code == status, response.text
        reason: str = response.json()["error_description"]
        assert reason.endswith(" Nothing was changed.")
        if status in {401, 403}:
            challenge = response.headers["www-authenticate"]
            assert (
                f'error_description="{reason.removesuffix(" Nothing was changed.")}"' in challenge
            )
        return reason.removesuffix(" Nothing was changed.")


def _tools_of(scope: str) -> list[str]:
    return [tool for tool, needed in SCOPE_OF_TOOL.items() if needed == scope]


@asynccontextmanager
async def in_process_service(
    folder: Path, settings: dict[str, str]
) -> AsyncGenerator[InProcessService]:
    clock = ManualClock()
    clock.time = datetime.now(UTC)  # the JWT library uses the system's clock
    server = create_server(Settings(data_dir=folder), clock=clock.clock)
    app = create_http_app(
        server, read_http_settings(settings), routes=[], public_paths=[], clock=clock.clock
    )
    service = InProcessService(app, clock)
    async with serving(app), service.http:
        yield service


@asynccontextmanager
async def serving(app: ASGIApp) -> AsyncGenerator[None]:
    """Run the lifespan of an application."""
    started, stop = anyio.Event(), anyio.Event()
    received = iter(["lifespan.startup", "lifespan.shutdown"])

    async def receive() -> Message:
        kind = next(received)
        if kind == "lifespan.shutdown":
            await stop.wait()
        return {"type": kind}

    async def send(message: Message) -> None:
        assert message["type"] in {"lifespan.startup.complete", "lifespan.shutdown.complete"}
        started.set()

    async def run() -> None:
        await app({"type": "lifespan", "state": {}}, receive, send)

    async with anyio.create_task_group() as group:
        group.start_soon(run)
        await started.wait()
        yield
        stop.set()
