"""Hostile connections: floods, redirects, and unsolicited responses."""

import tracemalloc
from collections.abc import Callable
from pathlib import Path

import anyio
import pytest

from snapshot_mcp.cloud.api import MAX_BODY_BYTES
from tests.hostile import replies
from tests.hostile.harness import (
    REMOTE_TEXT,
    WRITES,
    Harness,
    assert_error,
    assert_truthful,
    facts_of,
    stable_facts,
)
from tests.hostile.raw_cloud import (
    HonestReply,
    Misbehavior,
    RawCloud,
    ServerConnection,
    encode_response,
)

pytestmark = [pytest.mark.no_cover, pytest.mark.usefixtures("clean_log")]

MEGABYTE = 1024 * 1024
BODY_BYTES = 100 * MEGABYTE
BUFFER_BYTES = 8 * MEGABYTE
"""Bytes that the sockets of this machine may accept although nothing reads them."""

_BLOCK = b"[" * replies.BLOCK_BYTES
_CHUNK = b"%x\r\n" % len(_BLOCK) + _BLOCK + b"\r\n"
_HEAD = b"HTTP/1.1 200 OK\r\n"
BODIES = {
    "with a length": (encode_response(b"", length=BODY_BYTES), _BLOCK),
    "without a length": (_HEAD + b"\r\n", _BLOCK),
    "in chunks": (_HEAD + b"transfer-encoding: chunked\r\n\r\n", _CHUNK),
}


@pytest.mark.parametrize(("head", "part"), BODIES.values(), ids=BODIES)
async def test_a_body_of_100_megabytes_is_cut_off_at_the_limit(
    harness: Harness, head: bytes, part: bytes
) -> None:
    creation = await harness.plan_write("create_snapshot", executed=True)
    misbehavior = replies.send_repeatedly(head, part, at_most=BODY_BYTES)
    for call in (harness.reads[0], creation):
        before = harness.cloud.bytes_sent
        tracemalloc.start()
        result = await harness.call_during(call, misbehavior)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert_error(result) if call is not creation else assert_truthful(call, result)
        assert peak < 4 * MAX_BODY_BYTES
        assert MAX_BODY_BYTES < harness.cloud.bytes_sent - before < MAX_BODY_BYTES + BUFFER_BYTES
    await harness.assert_next_calls_work()


async def test_a_compression_bomb_is_not_decompressed(harness: Harness) -> None:
    bomb = replies.compression_bomb(BODY_BYTES)
    for coding in ("gzip", "gzip, gzip", "deflate", "br", "zstd", "GZip"):
        misbehavior = replies.send_and_close(encode_response(bomb, f"content-encoding: {coding}"))
        tracemalloc.start()
        assert_error(await harness.call_during(harness.reads[0], misbehavior))
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert peak < 4 * MEGABYTE
    await harness.assert_next_calls_work()


LOCATIONS: dict[str, Callable[[str], str]] = {
    "another host": lambda url: url,
    "another host, the same scheme": lambda url: url.removeprefix("http:"),
    "another host with the key in the URL": lambda url: url.replace("//", "//api_key:x@"),
    "the same host": lambda _: "/v1/core/snapshots",
    "an invalid address": lambda _: "http://[::1",
    "a script": lambda _: "javascript:alert(1)",
    "an empty address": lambda _: "",
}


@pytest.mark.parametrize("status", [300, 301, 302, 303, 304, 307, 308])
@pytest.mark.sampled(3)
async def test_a_redirect_is_never_followed_and_never_gets_the_key(
    harness: Harness, tmp_path: Path, status: int
) -> None:
    async with RawCloud(tmp_path / "elsewhere.db", harness.clock.now).serving() as elsewhere:

        def redirect(place: str) -> Misbehavior:
            lines = (f"location: {place}", f"refresh: 0; url={elsewhere.url}")
            return replies.send_and_close(
                encode_response(b"{}", *lines, status=f"{status} {REMOTE_TEXT}")
            )

        before = len(harness.cloud.requests)
        for place in LOCATIONS.values() if status == 302 else [LOCATIONS["another host"]]:
            misbehavior = redirect(place(elsewhere.url))
            assert_error(await harness.call_during(harness.reads[0], misbehavior))
        assert len({request.target for request in harness.cloud.requests[before:]}) == 1
        for tool in WRITES if status == 302 else (WRITES[status % 3],):
            call = await harness.plan_write(tool, executed=status % 2 == 0)
            assert_truthful(call, await harness.call_during(call, redirect(elsewhere.url)))
        assert elsewhere.connection_count == 0
    await harness.assert_next_calls_work()


def reply_with_extra(extra: Callable[[bytes], bytes], pause: float) -> Misbehavior:
    """Send the honest reply and then unsolicited bytes, and keep the connection."""

    async def misbehavior(connection: ServerConnection, reply: HonestReply) -> bool:
        parts = (reply.encoded, extra(reply.body))
        for part in parts if pause else (b"".join(parts),):
            await connection.send(part)
            await anyio.sleep(pause)
        return True

    return misbehavior


def _forge_response(body: bytes) -> bytes:
    return encode_response(body.replace(b"training-box", REMOTE_TEXT.encode()))


EXTRAS: dict[str, Callable[[bytes], bytes]] = {
    "a second response": _forge_response,
    "many responses": lambda body: _forge_response(body) * 20,
    "an error response": lambda _: encode_response(b'{"status": false}', status="404 Not Found"),
    "an early hint": lambda _: b"HTTP/1.1 103 Early Hints\r\n\r\n",
    "plain text": lambda _: REMOTE_TEXT.encode(),
}
# Two complete responses in one piece are not tested: no client can recognize that the second one is
# early, so it becomes the next response. A sender that can do this can change any response anyway
# (docs/security.md).
IMMEDIATE_EXTRAS = ("an early hint", "plain text")
EXTRA_CASES = [
    pytest.param(extra, pause, id=f"{name} {'later' if pause else 'immediately'}")
    for name, extra in EXTRAS.items()
    for pause in (0, 0.02)
    if pause or name in IMMEDIATE_EXTRAS
]


@pytest.mark.parametrize(("extra", "pause"), EXTRA_CASES)
async def test_bytes_after_a_reply_are_not_the_reply_to_the_next_request(
    harness: Harness, extra: Callable[[bytes], bytes], pause: float
) -> None:
    # Each is the last request of its call, so the connection is idle when the extra bytes arrive.
    for call in (harness.reads[1], await harness.plan_write("create_snapshot", executed=True)):
        await harness.call_during(call, reply_with_extra(extra, pause))
        await anyio.sleep(2 * pause)
        for read, honest in zip(harness.reads, harness.honest_results, strict=True):
            result = await harness.client.call_tool(read.tool, read.arguments)
            assert facts_of(result) == stable_facts(honest)
    await harness.assert_next_calls_work()
