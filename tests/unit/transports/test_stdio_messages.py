"""Lines on stdin that are not messages: the answer finds the right request, or none."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mcp_types import INVALID_REQUEST, PARSE_ERROR, JSONRPCNotification, JSONRPCRequest

from snapshot_mcp.transports.stdio_messages import (
    MAX_ERRORS_PER_LINE,
    MAX_LINE_BYTES,
    Line,
    LineSplitter,
    UnreadableMessageError,
    parse_message,
)

BOM = b"\xef\xbb\xbf"
LONG = "x" * MAX_LINE_BYTES


def request(text: bytes = b"a", request_id: bytes = b"5") -> bytes:
    """Return a request whose argument contains the text."""
    return (
        b'{"jsonrpc":"2.0","id":%b,"method":"tools/call","params":{"name":"n","arguments":'
        b'{"a":"%b"}}}' % (request_id, text)
    )


def reject(text: bytes) -> UnreadableMessageError:
    """Return the error for a text, which is one line."""
    splitter = LineSplitter()
    (line,) = [*splitter.split(text), *splitter.finish()]
    with pytest.raises(UnreadableMessageError) as raised:
        parse_message(line)
    assert len(str(raised.value)) < 200
    assert "xxx" not in str(raised.value)
    return raised.value


@pytest.mark.parametrize(
    "text",
    [
        request(),
        BOM + request(),
        b" \t" + BOM + request() + b"\r",
        request(b"\\ud83d\\ude00"),
        request("Überraschung 😀".encode()),
        request(b"\\u0000"),
    ],
)
def test_a_request_is_read_with_or_without_a_byte_order_mark(text: bytes) -> None:
    message = parse_message(Line(text))
    assert isinstance(message, JSONRPCRequest)
    assert message.id == 5


@pytest.mark.parametrize("text", [b"", b"\r", b" ", BOM])
def test_a_blank_line_is_no_message(text: bytes) -> None:
    assert parse_message(Line(text)) is None


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (request(b"\\ud800"), "JSON"),
        (request(b"\\udc00\\ud800"), "JSON"),
        (request(b"\xff"), "UTF-8"),
        (request(b"\xed\xa0\x80"), "UTF-8"),
        (request(b"\xe2\x82"), "UTF-8"),
        (request(b"\0"), "JSON"),
        (request(b"\x1b[2J"), "JSON"),
        (request() + b"\0", "JSON"),
        (b"\0\0" + request() + b"\0\0", "JSON"),
        (request() + b"garbage", "JSON"),
        (request()[:-1], "JSON"),
        (request()[:40], "JSON"),
        (b'{"jsonrpc":"2.0","id":5,"met', "JSON"),
        (b'{"jsonrpc":"2.0","id":5,"method":"m","params":NaN}', "JSON"),
        (b'{"jsonrpc":"2.0","id":5,"method":"m","params":{"a":' + b"9" * 5_000 + b"}}", "JSON"),
        (b'{"jsonrpc":"2.0","id":5,"method":"m","params":' + b"[" * 50_000 + b"}", "JSON"),
        (
            b'{"method":"m","params":' + b"[" * 50_000 + b"]" * 50_000 + b',"id": 5 } ',
            "JSON",
        ),
    ],
)
def test_a_damaged_request_is_answered_under_its_id(text: bytes, reason: str) -> None:
    error = reject(text)
    assert (error.request_ids, error.code) == ([5], PARSE_ERROR)
    assert reason in str(error)


@pytest.mark.parametrize(
    "text",
    [
        b'{"id":5,"method":"m"}',
        b'{"jsonrpc":"1.0","id":5,"method":"m"}',
        b'{"jsonrpc":"2.0","id":5}',
        b'{"jsonrpc":"2.0","id":5,"method":7}',
        b'{"jsonrpc":"2.0","id":5,"method":"m","params":[1]}',
        b'{"jsonrpc":"2.0","id":5.0,"method":"m"}',
        b"[" + request() + b"]",
        request(LONG.encode()),
        b'{"method":"m","params":{"id":9,"a":"%b"},"jsonrpc":"2.0","id":5}' % LONG.encode(),
        b'{"a":"%b","params":{"a":"x","id":9},"id":5}' % LONG.encode(),
        b'{"params":{"a":"%b"},"id":9,"id":5}' % LONG.encode(),
    ],
)
def test_an_invalid_request_is_answered_under_its_id(text: bytes) -> None:
    error = reject(text)
    assert (error.request_ids, error.code) == ([5], INVALID_REQUEST)


@pytest.mark.parametrize(
    "text",
    [
        b"garbage",
        b"null",
        b"5",
        b'"text"',
        b"{}",
        b"[]",
        b"[1]",
        b"\x80\x81",
        "{}".encode("utf-16"),
        b'{"jsonrpc":"2.0","id":5',
        b'{"jsonrpc":"2.0","id":"5',
        b'{"jsonrpc":"2.0","method":"m","params":{"id":5}',
        b'{"jsonrpc":"2.0","id":null,"method":"m"}',
        b'{"jsonrpc":"2.0","id":true,"method":"m"}',
        b'{"jsonrpc":"2.0","id":1.5,"method":"m"}',
        b'{"jsonrpc":"2.0","id":1e400,"method":"m"}',
        b'{"jsonrpc":"2.0","id":[5],"method":"m"}',
        request(request_id=b"9" * 5_000),
        request(request_id=b'"\\ud800"'),
        request(request_id=b'"a\xff"'),
        b'{"a":"%b","id":007}' % LONG.encode(),
        b'{"a":"%b","params":{"id":5}}' % LONG.encode(),
    ],
)
def test_a_request_whose_id_is_not_certain_is_answered_without_one(text: bytes) -> None:
    assert reject(text).request_ids == [None]


@pytest.mark.parametrize(
    "text",
    [
        b'{"jsonrpc":"2.0","method":"notifications/cancelled","params":[5]}',
        b'{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":"\\ud800"}}',
    ],
)
def test_a_damaged_notification_is_not_answered(text: bytes) -> None:
    error = reject(text)
    assert (error.request_ids, error.answered_ids) == ([], [])


@pytest.mark.parametrize(
    "text",
    [
        b'{"jsonrpc":"2.0","id":5,"result":"text"}',
        b'{"jsonrpc":"2.0","id":5,"result":{"words":"\\ud800"}}',
        b'{"jsonrpc":"2.0","id":5,"error":"text"}',
        b'{"result":{"words":"%b"},"jsonrpc":"2.0","id":5}' % LONG.encode(),
        b'[{"jsonrpc":"2.0","id":5,"result":{}}]',
    ],
)
def test_a_damaged_answer_is_not_taken_for_a_request(text: bytes) -> None:
    error = reject(text)
    assert (error.request_ids, error.answered_ids) == ([], [5])


def test_each_request_on_a_line_is_answered() -> None:
    both = [request(request_id=b"1"), request(request_id=b'"two"')]
    assert reject(b"[" + b",".join(both) + b"]").request_ids == [1, "two"]
    assert reject(b" ".join(both)).request_ids == [1, "two"]
    notification = b'{"jsonrpc":"2.0","method":"notifications/initialized"}'
    assert reject(b"[" + notification + b"," + both[0] + b"]").request_ids == [1]


@pytest.mark.parametrize(("opening", "separator", "closing"), [(b"[", b",", b"]"), (b"", b"", b"")])
def test_the_answers_to_one_line_are_limited(
    opening: bytes, separator: bytes, closing: bytes
) -> None:
    requests = [request(request_id=b"%d" % number) for number in range(MAX_ERRORS_PER_LINE * 3)]
    ids = reject(opening + separator.join(requests) + closing).request_ids
    assert ids == [*range(MAX_ERRORS_PER_LINE), None]


def test_an_id_that_only_a_request_may_not_have_does_not_make_a_notification() -> None:
    message = parse_message(Line(b'{"jsonrpc":"2.0","method":"notifications/initialized"}'))
    assert isinstance(message, JSONRPCNotification)
    assert "id" in str(reject(b'{"jsonrpc":"2.0","id":null,"method":"tools/list"}'))


@given(st.lists(st.binary(max_size=30)), st.lists(st.integers(1, 20), min_size=1))
def test_lines_do_not_depend_on_chunks(parts: list[bytes], sizes: list[int]) -> None:
    text = b"\n".join(parts)
    splitter = LineSplitter(max_bytes=1_000)
    lines: list[Line] = []
    position, turn = 0, 0
    while position < len(text):
        size = sizes[turn % len(sizes)]
        lines += splitter.split(text[position : position + size])
        position, turn = position + size, turn + 1
    lines += splitter.finish()
    expected = text.split(b"\n")
    assert [line.text for line in lines] == (expected if expected[-1] else expected[:-1])
    assert not any(line.tail for line in lines)


@given(st.binary(min_size=1, max_size=2_000), st.integers(1, 100), st.integers(1, 500))
def test_a_long_line_keeps_both_ends_and_little_memory(text: bytes, limit: int, size: int) -> None:
    text = text.replace(b"\n", b" ")
    splitter = LineSplitter(max_bytes=limit)
    for start in range(0, len(text), size):
        assert list(splitter.split(text[start : start + size])) == []
    (line,) = splitter.split(b"\n")
    assert line.size == len(text)
    assert line.text == text[:limit]
    assert text[limit:].endswith(line.tail)
    assert len(line.tail) == min(256, max(0, len(text) - limit))
    assert list(splitter.finish()) == []


@given(st.binary(max_size=300))
def test_any_bytes_are_a_message_or_an_error(text: bytes) -> None:
    try:
        message = parse_message(Line(text))
    except UnreadableMessageError as error:
        codes, ids = {error.code}, error.request_ids
    else:
        codes, ids = set[int](), [getattr(message, "id", None)]
    assert codes <= {PARSE_ERROR, INVALID_REQUEST}
    json.dumps(list(ids)).encode()


@given(st.integers(0, 10**6), st.integers(0, 200))
def test_a_request_that_is_cut_off_has_no_wrong_id(request_id: int, length: int) -> None:
    text = request(request_id=b"%d" % request_id)
    cut = text[: min(length, len(text) - 1)].strip()
    if cut:
        assert reject(cut).request_ids in ([request_id], [None])
