"""A service in this process, whose issuer can have any name."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path

from starlette.types import ASGIApp

from snapshot_mcp.core.errors import NOTHING_CHANGED
from snapshot_mcp.mcp_server.app import create_server
from snapshot_mcp.settings.environment import Settings
from snapshot_mcp.transports.http.app import create_http_app
from snapshot_mcp.transports.http.scopes import SCOPE_OF_TOOL, SCOPES
from snapshot_mcp.transports.http.settings import read_http_settings
from tests.conftest import ManualClock
from tests.service.team import Team, serving


class InProcessService(Team):
    """Clients of the service.

    Attributes:
        clock: the clock of the service, which began at the system's time.
    """

    def __init__(self, app: ASGIApp, clock: ManualClock) -> None:
        super().__init__(app)
        self.clock = clock

    async def granted_scopes(self, token: str) -> list[str]:
        """Return the scopes whose tools a token can see. The token must be accepted."""
        response = await self.post_modern(token, "tools/list")
        assert response.status_code == 200, response.text
        return [
            scope
            for scope in SCOPES
            if any(f'"{tool}"' in response.text for tool in _tools_of(scope))
        ]

    async def rejection(self, token: str, status: int = 401) -> str:
        """Return the reason for which a token is rejected."""
        response = await self.post_modern(token, "tools/list")
        assert response.status_code == status, response.text
        description: str = response.json()["error_description"]
        reason = description.removesuffix(f" {NOTHING_CHANGED}")
        assert reason != description
        if status in {401, 403}:
            assert f'error_description="{reason}"' in response.headers["www-authenticate"]
        return reason


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
