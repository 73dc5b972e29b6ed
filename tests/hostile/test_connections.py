"""Hostile connections: floods, redirects, and answers that nobody asked for."""

import tracemalloc
from collections.abc import Callable
from pathlib import Path

import anyio
import pytest

from snapshot_mcp.cloud.api import MAX_BODY_BYTES
from tests.hostile import replies
from tests.hostile.raw_cloud import ServerConnection, RawCloud, HonestReply, Misbehavior, encode_response
from tests.hostile.scene import (
    REMOTE_TEXT,
    WRITES,
    Harness,
    assert_error,
    assert_truthful,
    stable_facts,
    facts_of,
)

pytestmark = [pytest.mark.no_cover, pytest.mark.usefixtures("clean_log")]

MEGABYTE = 1024 * 1024
BODY_BYTES = 100 * MEGABYTE
BUFFER_BYTES = 8 * MEGABYTE
"""What the sockets of this machine may have taken that nobody has read."""

_BLOCK = b"[" * replies.BLOCK_BYTES
_CHUNK = b"%x\r\n" % len(_BLOCK) + _BLOCK + b"\r\n"
_HEAD = b"HTTP/1.1 200 OK\r\n"
BODIES = {
    "of a length": (encode_response(b"", length=BODY_BYTES), _BLOCK),
    "of no length": (_HEAD + b"\r\n", _BLOCK),
    "in chunks": (_HEAD + b"transfer-encoding: chunked\r\n\r\n", _CHUNK),
}


@pytest.mark.parametrize(("head", "part"), BODIES.values(), ids=BODIES)
async def test_a_body_of_100_megabytes_is_cut_off_at_the_cap(
    stage: Harness, head: bytes, part: bytes
) -> None:
    creation = await stage.write("create_snapshot", happen=True)
    trick = replies.send_repeatedly(head, part, at_most=BODY_BYTES)
    for wish in (stage.reads[0], creation):
        before = stage.cloud.bytes_sent
        tracemalloc.start()
        result = await stage.tricked(wish, trick)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert_error(result) if wish is not creation else assert_truthful(wish, result)
        assert peak < 4 * MAX_BODY_BYTES
        assert MAX_BODY_BYTES < stage.cloud.bytes_sent - before < MAX_BODY_BYTES + BUFFER_BYTES
    await stage.next_calls_work()


async def test_a_bomb_of_nested_compression_is_not_unpacked(stage: Harness) -> None:
    bomb = replies.compression_bomb(BODY_BYTES)
    for coding in ("gzip", "gzip, gzip", "deflate", "br", "zstd", "GZip"):
        trick = replies.send_and_close(encode_response(bomb, f"content-encoding: {coding}"))
        tracemalloc.start()
        assert_error(await stage.tricked(stage.reads[0], trick))
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert peak < 4 * MEGABYTE
    await stage.next_calls_work()


LOCATIONS: dict[str, Callable[[str], str]] = {
    "another host": lambda url: url,
    "another host, the same scheme": lambda url: url.removeprefix("http:"),
    "another host that is given the key": lambda url: url.replace("//", "//api_key:x@"),
    "the same host": lambda _: "/v1/core/snapshots",
    "an address that is none": lambda _: "http://[::1",
    "a script": lambda _: "javascript:alert(1)",
    "nowhere": lambda _: "",
}


@pytest.mark.parametrize("status", [300, 301, 302, 303, 304, 307, 308])
async def test_a_redirect_is_never_followed_and_the_key_goes_nowhere(
    stage: Harness, tmp_path: Path, status: int
) -> None:
    async with RawCloud(tmp_path / "elsewhere.db", stage.turned.now).serving() as elsewhere:

        def redirect(place: str) -> Misbehavior:
            lines = (f"location: {place}", f"refresh: 0; url={elsewhere.url}")
            return replies.send_and_close(encode_response(b"{}", *lines, status=f"{status} {REMOTE_TEXT}"))

        before = len(stage.cloud.requests)
        for place in LOCATIONS.values() if status == 302 else [LOCATIONS["another host"]]:
            trick = redirect(place(elsewhere.url))
            assert_error(await stage.tricked(stage.reads[0], trick))
        assert len({it.target for it in stage.cloud.requests[before:]}) == 1
        for tool in WRITES if status == 302 else (WRITES[status % 3],):
            wish = await stage.write(tool, happen=status % 2 == 0)
            assert_truthful(wish, await stage.tricked(wish, redirect(elsewhere.url)))
        assert elsewhere.connection_count == 0
    await stage.next_calls_work()


def reply_with_extra(extra: Callable[[bytes], bytes], pause: float) -> Misbehavior:
    """The honest answer, and then bytes that nobody asked for, on a connection that stays."""

    async def trick(line: ServerConnection, said: HonestReply) -> bool:
        parts = (said.whole, extra(said.body))
        for part in parts if pause else (b"".join(parts),):
            await line.send(part)
            await anyio.sleep(pause)
        return True

    return trick


def _forge_response(body: bytes) -> bytes:
    return encode_response(body.replace(b"training-box", REMOTE_TEXT.encode()))


EXTRAS: dict[str, Callable[[bytes], bytes]] = {
    "a second answer": _forge_response,
    "many answers": lambda body: _forge_response(body) * 20,
    "a refusal": lambda _: encode_response(b'{"status": false}', status="404 Not Found"),
    "a hint": lambda _: b"HTTP/1.1 103 Early Hints\r\n\r\n",
    "words": lambda _: REMOTE_TEXT.encode(),
}
# A whole answer in one piece with another one is left out: it waits where no client sees it, and is
# taken for the next. Whoever can send it can as well change the answers (docs/security.md).
IMMEDIATE_EXTRAS = ("a hint", "words")
EXTRA_CASES = [
    pytest.param(extra, pause, id=f"{name} {'a moment later' if pause else 'at once'}")
    for name, extra in EXTRAS.items()
    for pause in (0, 0.02)
    if pause or name in IMMEDIATE_EXTRAS
]


@pytest.mark.parametrize(("extra", "pause"), EXTRA_CASES)
async def test_what_comes_after_an_answer_is_not_the_answer_to_the_next_question(
    stage: Harness, extra: Callable[[bytes], bytes], pause: float
) -> None:
    # Each is the last request of its call, so that the connection rests when the extra comes.
    for wish in (stage.reads[1], await stage.write("create_snapshot", happen=True)):
        await stage.tricked(wish, reply_with_extra(extra, pause))
        await anyio.sleep(2 * pause)
        for read, honest in zip(stage.reads, stage.honest, strict=True):
            answered = await stage.client.call_tool(read.tool, read.arguments)
            assert facts_of(answered) == stable_facts(honest)
    await stage.next_calls_work()
