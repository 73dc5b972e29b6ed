"""Damaged JSON: only the smallest part around the damage is lost."""

import json
from typing import Any, cast

import httpx
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from snapshot_mcp.cloud import api as api_module
from snapshot_mcp.cloud.client import CloudReader, Page
from snapshot_mcp.cloud.damaged_json import UNREADABLE, decode_damaged_json
from snapshot_mcp.cloud.decoding import build_list_decoder, decode_json
from snapshot_mcp.cloud.parsing import parse_entry, parse_snapshot
from snapshot_mcp.cloud.writer import CloudWriter
from snapshot_mcp.core.errors import AnswerTooLargeError, OutcomeUnknownError, ProtocolError
from snapshot_mcp.models.cloud import Snapshot
from tests.conftest import open_api_client

ROWS = [{"id": number, "name": f"s{number}", "labels": ["keep"]} for number in (1, 2, 3)]
BODY = json.dumps({"status": True, "count": 3, "snapshots": ROWS}).encode()
BAD_NAMES = [
    b"caf\xc3",
    b"\xff",
    b"a\xe2\x82",
    b"\xf0\x9f\x98",
    b"\xc0\xaf",
    b"\xed\xa0\x80x",
    b"a\nb\0",
]
BAD_VALUES = [
    b"tru",
    b"1e",
    b"01",
    b"'x'",
    b"\xff",
    b"-",
    b"None",
    b"[1 2]",
    b'{"a" 1}',
    b"undefined",
]


async def read_page(body: bytes, fields: tuple[str, ...] | None = None) -> Page:
    transport = httpx.MockTransport(lambda _: httpx.Response(200, content=body))
    async with open_api_client(transport) as api:
        return await CloudReader(api).get_snapshots_page(1, 100, "", fields)


def parse_all(page: Page) -> list[Snapshot]:
    return [parse_snapshot(entry) for entry in page.entries if parse_entry(entry)]


@pytest.mark.parametrize("name", BAD_NAMES, ids=repr)
@pytest.mark.parametrize("fields", [None, ("name", "labels")])
async def test_a_bad_byte_in_a_name_alters_only_that_name(
    name: bytes, fields: tuple[str, ...] | None
) -> None:
    first, second, third = parse_all(await read_page(BODY.replace(b"s2", name), fields))
    assert (first.name, third.name) == ("s1", "s3")
    assert (second.id, second.labels, second.altered) == (2, ("keep",), ("name",))


@pytest.mark.parametrize("value", BAD_VALUES, ids=repr)
async def test_a_bad_value_is_unknown_and_reported(value: bytes) -> None:
    page = await read_page(
        BODY.replace(b'2, "name": "s2", "labels": ["keep"]', b'2, "name": "s2", "labels": ' + value)
    )
    snapshots = parse_all(page)
    assert [snapshot.name for snapshot in snapshots] == ["s1", "s2", "s3"]
    assert page.total == 3
    # A label may protect the snapshot, so it must not look like one without labels.
    assert snapshots[1].altered == ("labels",)


@pytest.mark.parametrize("value", BAD_VALUES, ids=repr)
async def test_a_bad_id_costs_its_entry(value: bytes) -> None:
    page = await read_page(BODY.replace(b'"id": 2', b'"id": ' + value))
    assert [snapshot.id for snapshot in parse_all(page)] == [1, 3]
    assert len(page.entries) == 3


@pytest.mark.parametrize(
    "entry",
    [
        b'"text"',
        b"null",
        b"7",
        b"NaN",
        b"[]",
        b"tru",
        b"{",
        b'{"id": 2, "lab\xffels": ["keep"]}',
        b"[" * 5_000 + b"]" * 5_000,
        b'{"id": NaN}',
        b'{"id": 1' + b"0" * 5_000 + b"}",
        b"{'id': 2}",
        b'{"id" 2}',
        b'{"id": 2, }',
    ],
    ids=lambda entry: repr(entry[:20]),
)
async def test_a_bad_entry_costs_only_itself(entry: bytes) -> None:
    body = BODY.replace(json.dumps(ROWS[1]).encode(), entry)
    if entry == b"{":
        with pytest.raises(ProtocolError):  # everything after it may be part of it
            await read_page(body)
        return
    page = await read_page(body)
    assert [snapshot.id for snapshot in parse_all(page)] == [1, 3]
    assert len(page.entries) == 3


async def test_values_out_of_range_are_unknown() -> None:
    for value in (b"Infinity", b"-Infinity", b"NaN", b"9" * 4_400, b"1e999"):
        page = await read_page(BODY.replace(b'"name": "s2"', b'"name": "s2", "size": ' + value))
        assert [snapshot.size for snapshot in parse_all(page)] == [None] * 3


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-le", "utf-32"])
async def test_a_byte_order_mark_and_other_encodings_are_read(encoding: str) -> None:
    body = BODY.decode().replace("s2", "café").encode(encoding)
    assert [snapshot.name for snapshot in parse_all(await read_page(body))] == ["s1", "café", "s3"]


@pytest.mark.parametrize(
    "cut",
    [
        b"",
        b"{",
        BODY[:-1],
        BODY[:40],
        BODY + b"x",
        BODY[:-2] + b"}}",
        b"<html>",
        b"\xff\xfe{",
        b'{"a": "',
        b"{]",
    ],
)
def test_a_body_that_is_cut_off_is_not_json(cut: bytes) -> None:
    assert decode_json(cut) is None


def test_a_damaged_body_is_taken_apart_only_to_a_limit() -> None:
    assert decode_json(b'{"a": [' + b"1," * 11_000 + b"tru]}") == {"a": UNREADABLE}
    assert decode_json(b'{"a": "' + b"x" * 1_100_000 + b'", "b": tru}') is None
    assert repr(UNREADABLE) == "UNREADABLE"


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**15), 10**15) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@given(json_values)
def test_valid_json_is_decoded_as_usual(value: object) -> None:
    assert decode_damaged_json(json.dumps(value).encode()) == value


@given(st.binary(max_size=60) | st.text(alphabet='{}[]",:\\tru1 ', max_size=40).map(str.encode))
@example(b'{"":0,"\\')
def test_any_bytes_are_decoded_without_an_exception(body: bytes) -> None:
    decode_json(body)
    build_list_decoder("snapshots", ["id"])(body)


@given(st.data())
def test_a_changed_byte_never_moves_a_value_to_another_entry(data: st.DataObject) -> None:
    position = data.draw(st.integers(0, len(BODY) - 1))
    body = bytearray(BODY)
    body[position] = data.draw(st.integers(128, 255))
    decoded = decode_json(bytes(body))
    if decoded is None:
        return
    found = cast("dict[str, Any]", decoded).get("snapshots")
    if not isinstance(found, list):
        return
    entries = cast("list[object]", found)
    rows = {row["id"]: row for row in ROWS}
    # A comma between two entries takes both with it; the count then shows that the list is short.
    assert len(entries) == len(ROWS) - (BODY[position : position + 4] == b', {"')
    for entry in entries:
        parsed = parse_entry(entry)
        if parsed is not None and parsed.id in rows:
            snapshot = parse_snapshot(parsed.raw)
            assert snapshot.name == rows[parsed.id]["name"] or snapshot.altered
            # Without its key, the value is unknown (None), which keeps the snapshot.
            assert snapshot.labels in {("keep",), None} or "labels" in (snapshot.altered or ())


async def write_with(body: bytes) -> Snapshot:
    transport = httpx.MockTransport(lambda _: httpx.Response(201, content=body))
    async with open_api_client(transport) as api:
        return await CloudWriter(api).create_snapshot(7, "web", "", [])


@pytest.mark.parametrize(
    "fields",
    [
        b'"id": 5, "vm_id": 7, "name": "we\xff"',
        b'"id": 5, "vm_id": 7, "name": tru',
        b'"id": 5, "vm_id": tru, "name": "web"',
        b'"id": 5, "vm_id": 7, "name": "web", "description": "caf\xc3"',
        b'"id": 5, "vm_id": 7, "name": "web", "status": nul',
    ],
)
async def test_a_bad_byte_in_the_answer_to_a_write_does_not_hide_its_result(fields: bytes) -> None:
    for start in (b'{"status": true, ', b'{"status": tr\xff, ', b"\xef\xbb\xbf{"):
        snapshot = await write_with(start + b'"snapshot": {' + fields + b"}}")
        assert (snapshot.id, snapshot.vm_id, snapshot.name) == (5, 7, "web")


@pytest.mark.parametrize(
    "fields",
    [
        b'"id": tru, "vm_id": 7, "name": "web"',
        b'"id": 5, "vm_id": tru, "name": "\xff"',
        b'"id": 5, "vm_id": 8, "name": "\xff"',
    ],
)
async def test_an_answer_to_a_write_without_proof_leaves_its_outcome_unknown(fields: bytes) -> None:
    with pytest.raises(OutcomeUnknownError):
        await write_with(b'{"status": true, "snapshot": {' + fields + b"}}")


async def test_unreadable_answers_are_no_outage() -> None:
    bodies = iter([b"<html>", b"\xff", b"{", b'{"snapshots": 1}', b"[]", b"null", BODY])
    transport = httpx.MockTransport(lambda _: httpx.Response(200, content=next(bodies)))
    async with open_api_client(transport) as api:
        reader = CloudReader(api)
        for _ in range(6):
            with pytest.raises(ProtocolError):
                await reader.get_snapshots_page(1, 100, "")
        assert len((await reader.get_snapshots_page(1, 100, "")).entries) == 3


@pytest.mark.parametrize("large", [[], [7], [1, 100, 101], [150]])
async def test_an_entry_above_the_size_limit_costs_only_itself(
    monkeypatch: pytest.MonkeyPatch, large: list[int]
) -> None:
    monkeypatch.setattr(api_module, "MAX_BODY_BYTES", 20_000)
    rows = [
        {"id": number, "name": "x" * (30_000 if number in large else 10)}
        for number in range(1, 151)
    ]

    def answer(request: httpx.Request) -> httpx.Response:
        page, size = (int(request.url.params[name]) for name in ("page", "pageSize"))
        entries = rows[(page - 1) * size : page * size]
        return httpx.Response(200, json={"snapshots": entries, "count": len(rows)})

    async with open_api_client(httpx.MockTransport(answer)) as api:
        pages = [await CloudReader(api).get_snapshots_page(page, 100, "") for page in (1, 2)]
    assert [page.total for page in pages] == [150, 150]
    entries = pages[0].entries + pages[1].entries
    assert [
        entry if entry is UNREADABLE else cast("dict[str, object]", entry)["id"]
        for entry in entries
    ] == [UNREADABLE if number in large else number for number in range(1, 151)]


@pytest.mark.parametrize("kind", ["values", "bytes"])
async def test_an_entry_that_takes_far_more_memory_than_others_costs_only_itself(kind: str) -> None:
    rows: list[dict[str, object]] = [{"id": number, "name": "x"} for number in range(1, 101)]
    rows.extend({"id": number, "name": "x" * 41_000} for number in range(101, 201))
    empty: list[object] = []
    rows[6]["labels" if kind == "values" else "name"] = (
        [empty] * 150_000 if kind == "values" else "x" * 80_000
    )

    def answer(request: httpx.Request) -> httpx.Response:
        page, size = (int(request.url.params[name]) for name in ("page", "pageSize"))
        return httpx.Response(200, json={"snapshots": rows[(page - 1) * size : page * size]})

    async with open_api_client(httpx.MockTransport(answer)) as api:
        first = await CloudReader(api).get_snapshots_page(1, 100, "")
        assert [place for place, entry in enumerate(first.entries) if entry is UNREADABLE] == (
            [6] if kind == "values" else []
        )
        second = await CloudReader(api).get_snapshots_page(2, 100, "")
    assert len(first.entries) == len(second.entries) == 100


async def test_an_object_with_hundreds_of_thousands_of_values_is_not_decoded() -> None:
    body = b'{"snapshot": {"id": 1701, "labels": [' + b"[]," * 300_000 + b"[]]}}"
    transport = httpx.MockTransport(lambda _: httpx.Response(200, content=body))
    async with open_api_client(transport) as api:
        with pytest.raises(AnswerTooLargeError):
            await CloudReader(api).get_snapshot(1701)


async def test_a_page_of_large_entries_is_an_error_after_a_few_requests(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(api_module, "MAX_BODY_BYTES", 10)
    requests: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        requests.append(request)
        return httpx.Response(200, json={"snapshots": [{"id": 1}]})

    async with open_api_client(httpx.MockTransport(answer)) as api:
        with pytest.raises(AnswerTooLargeError):
            await CloudReader(api).get_snapshots_page(1, 100, "")
        with pytest.raises(AnswerTooLargeError):
            await CloudReader(api).get_snapshots_page(1, 7, "")
    assert len(requests) < 10
