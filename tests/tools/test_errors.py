"""Errors around a call are reported in our own words and never hide what happened."""

import json
import logging

import httpx
import pytest
from mcp import Client

from snapshot_mcp.cloud.connection import create_network_transport
from snapshot_mcp.cloud.writer import CloudWriter
from snapshot_mcp.core.errors import ConfigurationError
from tests.conftest import World, call_tool, call_tool_error
from tests.tools.helpers import creation_arguments, make_plan, ready_snapshot

pytestmark = pytest.mark.one_era


async def test_a_data_folder_that_cannot_be_created_is_reported(world: World) -> None:
    (world.folder / "file").write_text("in the way")
    data_dir = world.folder / "file" / "data"
    world.settings = world.settings.model_copy(update={"data_dir": data_dir})
    async with world.client() as client:
        text = await call_tool_error(client, "list_snapshots")
    assert "The data folder cannot be created" in text
    assert "SNAPSHOT_MCP_DATA_DIR" in text
    assert str(world.folder) not in text


@pytest.mark.parametrize(
    ("name", "value"),
    [("ALL_PROXY", "ftp://SECRET@host"), ("SSL_CERT_FILE", "no-such-file.pem")],
)
def test_an_environment_that_breaks_the_http_client_is_reported(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    for other in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "SSL_CERT_FILE", "SSL_CERT_DIR"):
        monkeypatch.delenv(other, raising=False)
        monkeypatch.delenv(other.lower(), raising=False)
    monkeypatch.setenv(name, value)
    with pytest.raises(ConfigurationError) as caught:
        create_network_transport("https://cloud.example/v1")
    assert name in str(caught.value)
    assert "SECRET" not in str(caught.value)


async def test_a_restore_is_planned_without_a_price_list(world: World, client: Client) -> None:
    async def break_prices(request: httpx.Request) -> httpx.Response | None:
        return httpx.Response(500) if request.url.path.endswith("/pricebook") else None

    snapshot = await ready_snapshot(client)
    world.fail(break_prices)
    commit, plan = await make_plan(client, "restore_snapshot", snapshot)
    assert "price_per_hour_estimate" not in plan["plan"]
    result = await call_tool(client, "restore_snapshot", **commit, wait_seconds=60)
    assert result["outcome"] == "restored"


async def test_a_new_vm_that_fails_is_reported_as_failed(world: World, client: Client) -> None:
    async def fail(request: httpx.Request, response: httpx.Response) -> httpx.Response:
        if not request.url.path.startswith("/v1/core/virtual-machines/"):
            return response
        body = json.loads(await response.aread())
        body["instance"]["status"] = "ERROR"
        return httpx.Response(200, json=body, request=request)

    commit, _ = await make_plan(client, "restore_snapshot", await ready_snapshot(client))
    world.tamper(fail)
    result = await call_tool(client, "restore_snapshot", **commit, wait_seconds=60)
    assert result["outcome"] == "failed"
    assert "reports an error on it" in result["next_step"]


async def test_a_completed_write_is_reported_even_if_its_end_cannot_be_recorded(
    world: World, client: Client, caplog: pytest.LogCaptureFixture
) -> None:
    async def spoil(request: httpx.Request, response: httpx.Response) -> httpx.Response:
        if request.method == "POST":
            for file in world.folder.glob("ledger.db*"):
                file.unlink()
            (world.folder / "ledger.db").mkdir()
        return response

    wanted = await creation_arguments(client)
    world.tamper(spoil)
    with caplog.at_level(logging.ERROR):
        result = await call_tool(client, "create_snapshot", **wanted, wait_seconds=60)
    assert result["outcome"] == "created"
    assert "ended as done but could not be recorded" in caplog.text


async def test_an_unexpected_exception_is_masked_and_recorded_as_unknown(
    world: World, client: Client, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def crash(*_: object) -> None:
        raise ZeroDivisionError("SECRET")

    wanted = await creation_arguments(client)
    monkeypatch.setattr(CloudWriter, "create_snapshot", crash)
    with caplog.at_level(logging.CRITICAL):
        text = await call_tool_error(client, "create_snapshot", **wanted)
    assert text == "Error executing tool create_snapshot"
    assert [row.event for row in await world.attempts()] == ["sent", "unknown"]


async def test_an_answer_about_another_snapshot_is_not_taken_for_the_created_one(
    world: World, client: Client
) -> None:
    async def swap(request: httpx.Request, response: httpx.Response) -> httpx.Response:
        if request.method != "POST":
            return response
        body = json.loads(await response.aread())
        body["snapshot"] |= {"vm_id": 4, "status": "SUCCESS"}
        return httpx.Response(201, json=body, request=request)

    wanted = await creation_arguments(client)
    world.tamper(swap)
    result = await call_tool(client, "create_snapshot", **wanted)
    assert result["outcome"] == "created"
    assert result["snapshot"]["vm_id"] == wanted["vm_id"]
    assert (await world.attempts())[-1].reason.startswith("settled")


@pytest.mark.parametrize("answer", [{}, {"hello": "portal"}, {"status": "maybe"}])
async def test_a_delete_without_a_success_status_is_reconciled(
    world: World, client: Client, answer: dict[str, str]
) -> None:
    async def blur(request: httpx.Request, response: httpx.Response) -> httpx.Response:
        if request.method != "DELETE":
            return response
        return httpx.Response(200, json=answer, request=request)

    commit, _ = await make_plan(client, "delete_snapshot", await ready_snapshot(client))
    world.tamper(blur)
    result = await call_tool(client, "delete_snapshot", **commit)
    assert result["outcome"] == "deleted"
    assert (await world.attempts())[-1].reason.startswith("settled")


async def test_a_redirect_to_an_invalid_address_is_reported(world: World, client: Client) -> None:
    async def redirect(request: httpx.Request, response: httpx.Response) -> httpx.Response:
        if request.method == "GET" and request.url.path.endswith("/virtual-machines"):
            location = {"location": "https://xn--a.com/"}
            return httpx.Response(302, headers=location, request=request)
        return response

    world.tamper(redirect)
    text = await call_tool_error(client, "list_virtual_machines")
    assert "Nothing was changed." in text
