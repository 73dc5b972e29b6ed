"""Validation of requests: keys, bodies, pages and ids; and handling of failures."""

from collections.abc import AsyncGenerator
from datetime import datetime
from pathlib import Path

import httpx
import pytest
from starlette.types import Message

from snapshot_mcp.sandbox.app import create_app
from tests.sandbox.conftest import KEY, NEWEST, TRAINING_BOX, Cloud

TRAINING_BOX_SNAPSHOTS = f"/core/virtual-machines/{TRAINING_BOX}/snapshots"


@pytest.mark.parametrize("key", [None, b"", b"wrong", KEY.upper().encode(), "schlüssel".encode()])
@pytest.mark.parametrize("path", ["/core/snapshots", "/pricebook", "/unknown"])
async def test_a_request_without_the_key_is_unauthorized(
    cloud: Cloud, key: bytes | None, path: str
) -> None:
    cloud.http.headers.pop("api_key")
    response = await cloud.http.get(path, headers=None if key is None else {b"api_key": key})
    assert response.status_code == 401
    assert response.json() == {
        "status": False,
        "message": "The API key is not valid.",
        "error_reason": "unauthorized",
    }
    assert not cloud.database.parent.exists()


async def test_creating_an_app_does_not_touch_the_disk(cloud: Cloud) -> None:
    assert not cloud.database.parent.exists()
    await cloud.get("/core/regions")
    assert cloud.database.exists()


@pytest.mark.parametrize(
    ("body", "fragment"),
    [
        (b"", "not valid JSON"),
        (b"{", "not valid JSON"),
        (b"\xff\xfe", "not valid JSON"),
        (b"[" * 30_000, "not valid JSON"),
        (b'{"name": ' + b"9" * 5000 + b"}", "not valid JSON"),
        (b"[]", "must be a JSON object"),
        (b"null", "must be a JSON object"),
        (b"{}", "name: Missing data for required field."),
        (b'{"name": null}', "name must be a string"),
        (b'{"name": 5}', "name must be a string"),
        (b'{"name": ""}', "name must not be empty"),
        (b'{"name": "  "}', "name must not be empty"),
        (b'{"name": "' + b"n" * 51 + b'"}', "at most 50 characters"),
        (b'{"name": "a\\u0000b"}', "name must not contain control characters"),
        (b'{"name": "a\\nb"}', "name must not contain control characters"),
        (b'{"name": "a\\u009bb"}', "name must not contain control characters"),
        (b'{"name": "\\ud800"}', "name must be valid Unicode"),
        (b'{"name": "a"}', "description: Missing data for required field."),
        (b'{"name": "a", "description": null}', "description must be a string"),
        (b'{"name": "a", "description": 1}', "description must be a string"),
        (b'{"name": "a", "description": "", "colour": 1}', "colour: Unknown field."),
        (b'{"a\\u2028\\ud800": 1}', "a\\u2028\\ud800: Unknown field."),
        (b'{"name": "a", "description": "\\udfff"}', "description must be valid Unicode"),
        (b'{"name": "a", "description": "", "labels": "x"}', "labels must be a list of strings"),
        (b'{"name": "a", "description": "", "labels": [1]}', "labels must be a list of strings"),
        (
            b'{"name": "a", "description": "", "labels": ["\\ud800"]}',
            "labels must be valid Unicode",
        ),
        (b'{"name": "' + b"n" * 66_000 + b'"}', "more than 65536 bytes"),
    ],
)
@pytest.mark.sampled(3)
async def test_an_invalid_body_is_rejected_with_a_reason(
    cloud: Cloud, body: bytes, fragment: str
) -> None:
    response_body = await cloud.request("POST", TRAINING_BOX_SNAPSHOTS, 400, content=body)
    assert response_body["error_reason"] == "bad_request"
    assert fragment in response_body["message"]
    assert (await cloud.get("/core/snapshots"))["count"] == 30


@pytest.mark.parametrize(
    ("body", "fragment"),
    [
        ({}, "new_vm_name: Missing data for required field."),
        ({"new_vm_name": "n" * 51}, "new_vm_name must have at most 50"),
        ({"new_vm_name": "a", "contract_id": "77"}, "contract_id must be a whole number"),
        ({"new_vm_name": "a", "region": "US-1"}, "region: Unknown field."),
        ({"new_vm_name": "a", "contract_id": True}, "contract_id must be a whole number"),
        ({"new_vm_name": "a", "contract_id": 7.5}, "contract_id must be a whole number"),
    ],
)
async def test_an_invalid_restore_is_rejected_with_a_reason(
    cloud: Cloud, body: dict[str, object], fragment: str
) -> None:
    response_body = await cloud.post(f"/core/snapshots/{NEWEST}/restore", body, 400)
    assert fragment in response_body["message"]


async def test_an_endless_body_is_rejected_before_its_end(cloud: Cloud) -> None:
    sent = 0

    async def endless() -> AsyncGenerator[bytes]:
        nonlocal sent
        while sent < 100:
            sent += 1
            yield b" " * 8192

    await cloud.request("POST", TRAINING_BOX_SNAPSHOTS, 400, content=endless())
    assert sent < 12


async def test_names_are_stored_exactly_as_sent(cloud: Cloud) -> None:
    name = "Zürich 🗼 \u202e<b>'; DROP TABLE snapshots;--"
    snapshot_id = (await cloud.create(TRAINING_BOX, name))["snapshot"]["id"]
    assert (await cloud.snapshot(snapshot_id))["name"] == name
    assert (await cloud.get("/core/snapshots", query={"search": "zÜRICH"}))["count"] == 1


async def test_pages_split_the_list_without_gaps_or_repetitions(cloud: Cloud) -> None:
    full_list = (await cloud.get("/core/snapshots"))["snapshots"]
    pages = [
        await cloud.get("/core/snapshots", query={"page": str(page), "pageSize": "7"})
        for page in range(1, 7)
    ]
    assert [snapshot for page in pages for snapshot in page["snapshots"]] == full_list
    assert [len(page["snapshots"]) for page in pages] == [7, 7, 7, 7, 2, 0]
    assert [(page["page"], page["page_size"], page["count"]) for page in pages[:2]] == [
        (1, 7, 30),
        (2, 7, 30),
    ]


@pytest.mark.parametrize(
    ("query", "page", "size", "rows"),
    [
        ({}, None, None, 30),
        ({"page": "1"}, 1, 20, 20),
        ({"page": "2"}, 2, 20, 10),
        ({"pageSize": "5"}, 1, 5, 5),
        ({"page": "1", "pageSize": "5000"}, 1, 100, 30),
        ({"page": "999999999", "pageSize": "100"}, 999999999, 100, 0),
    ],
)
async def test_a_page_has_defaults_and_a_maximum_size(
    cloud: Cloud, query: dict[str, str], page: int | None, size: int | None, rows: int
) -> None:
    body = await cloud.get("/core/snapshots", query=query)
    assert (body["page"], body["page_size"], len(body["snapshots"])) == (page, size, rows)


@pytest.mark.parametrize("value", ["0", "-1", "abc", "", "1.5", "²", "9" * 5000])
@pytest.mark.parametrize("key", ["page", "pageSize"])
@pytest.mark.parametrize("path", ["/core/snapshots", "/core/virtual-machines"])
async def test_an_invalid_page_is_rejected(cloud: Cloud, path: str, key: str, value: str) -> None:
    body = await cloud.get(path, 400, {key: value})
    assert body["message"] == f"{key} must be a whole number from 1 up."


@pytest.mark.parametrize("search", ["%", "_", "\\", "nightly%", "' OR 1=1 --"])
async def test_search_has_no_special_characters(cloud: Cloud, search: str) -> None:
    assert (await cloud.get("/core/snapshots", query={"search": search}))["count"] == 0
    await cloud.create(TRAINING_BOX, f"odd {search} name")
    body = await cloud.get("/core/snapshots", query={"search": search})
    assert [snapshot["name"] for snapshot in body["snapshots"]] == [f"odd {search} name"]


async def test_search_ignores_case_and_counts_all_matches(cloud: Cloud) -> None:
    body = await cloud.get(
        "/core/snapshots", query={"search": "NIGHTLY", "page": "1", "pageSize": "3"}
    )
    assert (body["count"], len(body["snapshots"])) == (7, 3)


@pytest.mark.parametrize("id_", ["abc", "-1", "1.5", "1e3", "²", "0x10", "%20"])
@pytest.mark.parametrize("path", ["/core/snapshots/{}", "/core/virtual-machines/{}/events"])
async def test_an_id_that_is_not_a_number_is_a_bad_request(
    cloud: Cloud, path: str, id_: str
) -> None:
    assert (await cloud.get(path.format(id_), 400))["error_reason"] == "bad_request"


@pytest.mark.parametrize("id_", ["0", "999", str(2**63 - 1), str(2**63), "9" * 19, "9" * 5000])
@pytest.mark.parametrize("path", ["/core/snapshots/{}", "/core/virtual-machines/{}"])
async def test_an_unknown_id_is_not_found(cloud: Cloud, path: str, id_: str) -> None:
    assert (await cloud.get(path.format(id_), 404))["error_reason"] == "not_found"


async def test_a_crash_returns_json_without_a_traceback(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def fail() -> datetime:
        raise ZeroDivisionError("inner workings")

    app = create_app(database=tmp_path / "cloud.db", api_key=KEY, now=fail)
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://cloud") as http:
        response = await http.get("/v1/core/snapshots", headers={"api_key": KEY})
    assert response.status_code == 500
    assert response.json() == {
        "status": False,
        "message": "Internal Server Error",
        "error_reason": "server_error",
    }
    assert "inner workings" in caplog.text
    assert KEY not in caplog.text


async def test_a_disconnect_within_a_body_is_not_a_failure(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    app = create_app(database=tmp_path / "cloud.db", api_key=KEY, now=lambda: Cloud.time)
    scope = {
        "type": "http",
        "method": "POST",
        "path": f"/v1{TRAINING_BOX_SNAPSHOTS}",
        "query_string": b"",
        "headers": [(b"api_key", KEY.encode())],
    }
    sent_messages: list[Message] = []

    async def receive() -> Message:
        return {"type": "http.disconnect"}

    async def send(message: Message) -> None:
        sent_messages.append(message)

    await app(scope, receive, send)
    assert sent_messages == []
    assert not caplog.records


async def test_lifespan_events_are_handled(tmp_path: Path) -> None:
    app = create_app(database=tmp_path / "cloud.db", api_key=KEY, now=lambda: Cloud.time)
    events = [{"type": "lifespan.startup"}, {"type": "lifespan.shutdown"}]
    sent_messages: list[str] = []

    async def receive() -> Message:
        return events.pop(0)

    async def send(message: Message) -> None:
        sent_messages.append(message["type"])

    await app({"type": "lifespan", "state": {}}, receive, send)
    assert sent_messages == ["lifespan.startup.complete", "lifespan.shutdown.complete"]
    assert not (tmp_path / "cloud.db").exists()
