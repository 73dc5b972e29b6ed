"""How the cloud reads requests: keys, bodies, pages, ids, and its own failures."""

from collections.abc import AsyncGenerator
from datetime import datetime
from pathlib import Path

import httpx
import pytest
from starlette.types import Message

from snapshot_mcp.sandbox.app import create_app
from tests.sandbox.conftest import KEY, NEWEST, TRAINING_BOX, Cloud

SNAPSHOTS_OF_BOX = f"/core/virtual-machines/{TRAINING_BOX}/snapshots"


@pytest.mark.parametrize("key", [None, b"", b"wrong", KEY.upper().encode(), "schlüssel".encode()])
@pytest.mark.parametrize("path", ["/core/snapshots", "/pricebook", "/unknown"])
async def test_nothing_is_told_without_the_key(cloud: Cloud, key: bytes | None, path: str) -> None:
    cloud.http.headers.pop("api_key")
    response = await cloud.http.get(path, headers=None if key is None else {b"api_key": key})
    assert response.status_code == 401
    assert response.json() == {
        "status": False,
        "message": "The API key is not valid.",
        "error_reason": "unauthorized",
    }
    assert not cloud.database.parent.exists()


async def test_making_an_app_touches_no_disk(cloud: Cloud) -> None:
    assert not cloud.database.parent.exists()
    await cloud.get("/core/regions")
    assert cloud.database.exists()


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"", "not valid JSON"),
        (b"{", "not valid JSON"),
        (b"\xff\xfe", "not valid JSON"),
        (b"[" * 30_000, "not valid JSON"),
        (b'{"name": ' + b"9" * 5000 + b"}", "not valid JSON"),
        (b"[]", "must be a JSON object"),
        (b"null", "must be a JSON object"),
        (b"{}", "name is required"),
        (b'{"name": null}', "name must be a string"),
        (b'{"name": 5}', "name must be a string"),
        (b'{"name": ""}', "name must not be empty"),
        (b'{"name": "  "}', "name must not be empty"),
        (b'{"name": "' + b"n" * 51 + b'"}', "at most 50 characters"),
        (b'{"name": "a\\u0000b"}', "name must not contain control characters"),
        (b'{"name": "a\\nb"}', "name must not contain control characters"),
        (b'{"name": "a\\u009bb"}', "name must not contain control characters"),
        (b'{"name": "\\ud800"}', "name must be valid Unicode"),
        (b'{"name": "a", "description": 1}', "description must be a string"),
        (b'{"name": "a", "description": "\\udfff"}', "description must be valid Unicode"),
        (b'{"name": "a", "labels": "x"}', "labels must be a list of strings"),
        (b'{"name": "a", "labels": [1]}', "labels must be a list of strings"),
        (b'{"name": "a", "labels": ["\\ud800"]}', "labels must be valid Unicode"),
        (b'{"name": "' + b"n" * 66_000 + b'"}', "more than 65536 bytes"),
    ],
)
async def test_a_bad_body_is_refused_with_a_word_about_it(
    cloud: Cloud, body: bytes, words: str
) -> None:
    answer = await cloud.request("POST", SNAPSHOTS_OF_BOX, 400, content=body)
    assert answer["error_reason"] == "bad_request"
    assert words in answer["message"]
    assert (await cloud.get("/core/snapshots"))["count"] == 30


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({}, "new_vm_name is required"),
        ({"new_vm_name": "n" * 51}, "new_vm_name must have at most 50"),
        ({"new_vm_name": "a", "contract_id": "77"}, "contract_id must be a whole number"),
        ({"new_vm_name": "a", "contract_id": True}, "contract_id must be a whole number"),
        ({"new_vm_name": "a", "contract_id": 7.5}, "contract_id must be a whole number"),
    ],
)
async def test_a_bad_restore_is_refused_with_a_word_about_it(
    cloud: Cloud, body: dict[str, object], words: str
) -> None:
    answer = await cloud.post(f"/core/snapshots/{NEWEST}/restore", body, 400)
    assert words in answer["message"]


async def test_a_body_that_never_ends_is_refused_before_its_end(cloud: Cloud) -> None:
    sent = 0

    async def endless() -> AsyncGenerator[bytes]:
        nonlocal sent
        while sent < 100:
            sent += 1
            yield b" " * 8192

    await cloud.request("POST", SNAPSHOTS_OF_BOX, 400, content=endless())
    assert sent < 12


async def test_names_are_kept_as_they_were_sent(cloud: Cloud) -> None:
    name = "Zürich 🗼 \u202e<b>'; DROP TABLE snapshots;--"
    made = (await cloud.create(TRAINING_BOX, name))["snapshot"]["id"]
    assert (await cloud.snapshot(made))["name"] == name
    assert (await cloud.get("/core/snapshots", query={"search": "zÜRICH"}))["count"] == 1


async def test_pages_cut_the_list_without_gaps_or_repetitions(cloud: Cloud) -> None:
    whole = (await cloud.get("/core/snapshots"))["snapshots"]
    pages = [
        await cloud.get("/core/snapshots", query={"page": str(page), "pageSize": "7"})
        for page in range(1, 7)
    ]
    assert [it for page in pages for it in page["snapshots"]] == whole
    assert [len(page["snapshots"]) for page in pages] == [7, 7, 7, 7, 2, 0]
    assert [(it["page"], it["page_size"], it["count"]) for it in pages[:2]] == [
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
async def test_a_page_has_defaults_and_a_largest_size(
    cloud: Cloud, query: dict[str, str], page: int | None, size: int | None, rows: int
) -> None:
    body = await cloud.get("/core/snapshots", query=query)
    assert (body["page"], body["page_size"], len(body["snapshots"])) == (page, size, rows)


@pytest.mark.parametrize("value", ["0", "-1", "abc", "", "1.5", "²", "9" * 5000])
@pytest.mark.parametrize("key", ["page", "pageSize"])
@pytest.mark.parametrize("path", ["/core/snapshots", "/core/virtual-machines"])
async def test_a_bad_page_is_refused(cloud: Cloud, path: str, key: str, value: str) -> None:
    body = await cloud.get(path, 400, {key: value})
    assert body["message"] == f"{key} must be a whole number from 1 up."


@pytest.mark.parametrize("search", ["%", "_", "\\", "nightly%", "' OR 1=1 --"])
async def test_search_takes_every_character_as_it_is(cloud: Cloud, search: str) -> None:
    assert (await cloud.get("/core/snapshots", query={"search": search}))["count"] == 0
    await cloud.create(TRAINING_BOX, f"odd {search} name")
    body = await cloud.get("/core/snapshots", query={"search": search})
    assert [it["name"] for it in body["snapshots"]] == [f"odd {search} name"]


async def test_search_is_blind_to_case_and_counts_what_it_found(cloud: Cloud) -> None:
    body = await cloud.get(
        "/core/snapshots", query={"search": "NIGHTLY", "page": "1", "pageSize": "3"}
    )
    assert (body["count"], len(body["snapshots"])) == (7, 3)


@pytest.mark.parametrize("id_", ["abc", "-1", "1.5", "1e3", "²", "0x10", "%20"])
@pytest.mark.parametrize("path", ["/core/snapshots/{}", "/core/virtual-machines/{}/events"])
async def test_an_id_that_is_no_number_is_a_bad_request(cloud: Cloud, path: str, id_: str) -> None:
    assert (await cloud.get(path.format(id_), 400))["error_reason"] == "bad_request"


@pytest.mark.parametrize("id_", ["0", "999", str(2**63 - 1), str(2**63), "9" * 19, "9" * 5000])
@pytest.mark.parametrize("path", ["/core/snapshots/{}", "/core/virtual-machines/{}"])
async def test_an_id_that_nothing_has_is_not_found(cloud: Cloud, path: str, id_: str) -> None:
    assert (await cloud.get(path.format(id_), 404))["error_reason"] == "not_found"


async def test_a_crash_is_answered_in_json_without_a_traceback(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def broken() -> datetime:
        raise ZeroDivisionError("inner workings")

    app = create_app(database=tmp_path / "cloud.db", api_key=KEY, now=broken)
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


async def test_a_caller_who_leaves_amid_a_body_is_no_failure(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    app = create_app(database=tmp_path / "cloud.db", api_key=KEY, now=lambda: Cloud.time)
    scope = {
        "type": "http",
        "method": "POST",
        "path": f"/v1{SNAPSHOTS_OF_BOX}",
        "query_string": b"",
        "headers": [(b"api_key", KEY.encode())],
    }
    answers: list[Message] = []

    async def receive() -> Message:
        return {"type": "http.disconnect"}

    async def send(message: Message) -> None:
        answers.append(message)

    await app(scope, receive, send)
    assert answers == []
    assert not caplog.records


async def test_lifespan_events_are_answered(tmp_path: Path) -> None:
    app = create_app(database=tmp_path / "cloud.db", api_key=KEY, now=lambda: Cloud.time)
    events = [{"type": "lifespan.startup"}, {"type": "lifespan.shutdown"}]
    answers: list[str] = []

    async def receive() -> Message:
        return events.pop(0)

    async def send(message: Message) -> None:
        answers.append(message["type"])

    await app({"type": "lifespan", "state": {}}, receive, send)
    assert answers == ["lifespan.startup.complete", "lifespan.shutdown.complete"]
    assert not (tmp_path / "cloud.db").exists()
