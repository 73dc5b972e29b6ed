"""Exported spans, metrics and logs: connected, and without untrusted text or secrets."""

import json
import signal
import sys
import time
from collections.abc import Generator
from pathlib import Path

import pytest
from mcp import Client, MCPError
from prometheus_client.parser import text_string_to_metric_families

from snapshot_mcp.core.instrumentation import route_template
from tests.conftest import call_tool
from tests.hostile.corpus import TEXTS, is_storable
from tests.processes.helpers import KEY, Upstream, free_port, ready_server, stdio_server, until
from tests.processes.http_server import HttpServer, http_server
from tests.scale import scale
from tests.telemetry.collector import Collector, running_collector
from tests.waiting import ANSWER_TIMEOUT_SECONDS

CANARY = "canary-of-a-name"
SHORT_INTERVALS = {"OTEL_BSP_SCHEDULE_DELAY": "50", "OTEL_METRIC_EXPORT_INTERVAL": "200"}


@pytest.fixture(scope="module")
def collector() -> Generator[Collector]:
    with running_collector() as collector:
        yield collector


@pytest.fixture(scope="module")
def server(
    tmp_path_factory: pytest.TempPathFactory, collector: Collector, measuring: dict[str, str]
) -> Generator[HttpServer]:
    folder = tmp_path_factory.mktemp("observed")
    with (
        Upstream(folder / "cloud.db").serve() as upstream,
        http_server(
            folder / "server",
            free_port(),
            SNAPSHOT_MCP_METRICS="true",
            SNAPSHOT_MCP_LOG_LEVEL="info",
            SNAPSHOT_MCP_LOG_FORMAT="json",
            OTEL_EXPORTER_OTLP_ENDPOINT=collector.url,
            **upstream.settings,
            **measuring,
            **SHORT_INTERVALS,
        ) as server,
    ):
        yield server
        server.terminate()


async def send_everywhere(server: HttpServer, text: str) -> None:
    """Send `text` in every place where a client can send text."""
    async with Client(f"{server.url}/mcp", mode="2026-07-28") as client:
        await client.call_tool("list_snapshots", {"search": text})
        await client.call_tool("list_snapshots", {text: 1})
        vm = (await call_tool(client, "list_virtual_machines", limit=1))["virtual_machines"][0]
        arguments = {"vm_id": vm["id"], "name": text[:50], "description": text, "labels": [text]}
        await client.call_tool("create_snapshot", arguments | {"allow_interruption": True})
        await client.call_tool("delete_snapshot", {"snapshot_id": 1701, "plan_token": text})
        await client.call_tool(text, {})
        for address in (f"snapshot://{text}", text):
            with pytest.raises((MCPError, ValueError)):
                await client.read_resource(address)
        with pytest.raises(MCPError):
            await client.get_prompt(text, {})


async def test_spans_of_cloud_requests_are_children_of_the_call(
    server: HttpServer, collector: Collector
) -> None:
    async with Client(f"{server.url}/mcp", mode="2026-07-28") as client:
        found = (await call_tool(client, "list_snapshots", limit=1))["snapshots"][0]
        await call_tool(client, "inspect_snapshot", snapshot_id=found["id"])
        await client.call_tool("inspect_snapshot", {"snapshot_id": 999_999})

    def parent_and_child() -> set[tuple[str, str]]:
        by_id = {span.id: span for span in collector.spans}
        return {
            (by_id[span.parent].name, span.name)
            for span in collector.spans
            if span.parent in by_id and by_id[span.parent].trace == span.trace
        }

    until(lambda: len(parent_and_child()) >= 2, "spans")
    assert ("tools/call list_snapshots", "GET /core/snapshots") in parent_and_child()
    until(
        lambda: ("tools/call inspect_snapshot", "GET /core/snapshots/{id}") in parent_and_child(),
        "a span",
    )
    until(lambda: any(span.failed for span in collector.spans), "a failed span")
    spans = [span for span in collector.spans if span.name == "GET /core/snapshots/{id}"]
    assert {span.attributes["http.response.status_code"] for span in spans} == {200, 404}
    assert {span.attributes["http.route"] for span in spans} == {"/core/snapshots/{id}"}
    assert {span.attributes["http.request.resend_count"] for span in spans} == {0}


async def test_metrics_are_exported_and_served(server: HttpServer, collector: Collector) -> None:
    async with Client(f"{server.url}/mcp", mode="2026-07-28") as client:
        await call_tool(client, "list_snapshots", limit=1)
        await client.call_tool("delete_snapshot", {"snapshot_id": 1701, "plan_token": "x"})
    answer = server.get("/metrics")
    assert answer.headers["content-type"].startswith("text/plain")
    families = {family.name: family for family in text_string_to_metric_families(answer.text)}
    calls = {
        (sample.labels["tool"], sample.labels["outcome"]): sample.value
        for sample in families["snapshot_mcp_tool_duration_seconds"].samples
        if sample.name.endswith("_count")
    }
    assert calls["list_snapshots", "ok"] >= 1
    assert calls["delete_snapshot", "error"] >= 1
    refusals = families["snapshot_mcp_refusals"].samples
    assert {sample.labels["tool"] for sample in refusals} == {"delete_snapshot"}
    (budget,) = families["snapshot_mcp_cloud_budget"].samples
    assert 400 < budget.value < 500
    requests = families["snapshot_mcp_cloud_duration_seconds"].samples
    assert "/core/snapshots" in {sample.labels["http_route"] for sample in requests}
    wanted = {"snapshot_mcp.tool.duration", "snapshot_mcp.tool.errors", "snapshot_mcp.refusals"}
    wanted |= {"snapshot_mcp.cloud.duration", "snapshot_mcp.cloud.budget"}
    until(lambda: wanted <= collector.metrics, "metrics")


async def test_no_key_and_no_untrusted_text_is_exported(
    server: HttpServer, collector: Collector
) -> None:
    candidates = [
        text
        for text in TEXTS.values()
        if is_storable(text) and 8 < len(text) < 500 and "/" not in text
    ]
    texts = [CANARY, *candidates[:: scale(quick=24, deep=8)]]
    for text in texts:
        await send_everywhere(server, text)
    count = len(collector.spans)
    async with Client(f"{server.url}/mcp", mode="2026-07-28") as client:
        await call_tool(client, "list_snapshots", limit=1)
    until(lambda: len(collector.spans) > count, "the last spans")
    exported = b"".join(collector.raw) + server.get("/metrics").content
    exported += "\n".join(server.output).encode()
    for text in (KEY, *texts):
        assert text.encode() not in exported
    assert b"mcp.method.name" in exported
    records = [json.loads(line) for line in server.output]
    assert any("list_snapshots: ok in" in record["event"] for record in records)
    assert any("RefusedError" in record["event"] for record in records)


@pytest.mark.slow
@pytest.mark.usefixtures("measured")
@pytest.mark.parametrize(
    "ending", ["stdin closed"] if sys.platform == "win32" else ["stdin closed", "SIGTERM"]
)
def test_a_stdio_server_exports_the_rest_when_it_ends(
    tmp_path: Path, collector: Collector, ending: str
) -> None:
    settings = {"OTEL_EXPORTER_OTLP_ENDPOINT": collector.url}
    with stdio_server(tmp_path, **settings) as server:
        server.initialize()
        server.call_tool("list_virtual_machines", limit=1)
        before = len(collector.spans)
        if ending == "SIGTERM":
            server.process.terminate()
            assert server.process.wait(ANSWER_TIMEOUT_SECONDS) == -signal.SIGTERM
        else:
            assert server.close_stdin() == 0
        names = {span.name for span in collector.spans[before:]}
    assert {"tools/call list_virtual_machines", "GET /core/virtual-machines"} <= names


@pytest.mark.slow
@pytest.mark.parametrize("address", ["http://127.0.0.1:1"])
def test_an_unreachable_collector_does_not_affect_calls(tmp_path: Path, address: str) -> None:
    with ready_server(tmp_path, OTEL_EXPORTER_OTLP_ENDPOINT=address, **SHORT_INTERVALS) as server:
        assert server.call_tool("list_snapshots", limit=1)["total"]
        begin = time.monotonic()
        assert server.close_stdin() == 0
        assert time.monotonic() - begin < 9  # the exporters alone would try for 10 s


@pytest.mark.parametrize(
    ("path", "route"),
    [
        ("/core/snapshots", "/core/snapshots"),
        ("/core/snapshots/1701", "/core/snapshots/{id}"),
        ("/core/virtual-machines/7/snapshots", "/core/virtual-machines/{id}/snapshots"),
        ("/core/snapshots/name-availability/secret", "/core/snapshots/name-availability/{name}"),
        ("/core/snapshots/name-availability/17", "/core/snapshots/name-availability/{name}"),
        ("/core/images/A%20b", "/core/images/{name}"),
    ],
)
def test_a_route_contains_no_id_and_no_name(path: str, route: str) -> None:
    assert route_template(path) == route
