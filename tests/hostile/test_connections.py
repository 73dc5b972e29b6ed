"""Hostile connections: floods, redirects, and answers that nobody asked for."""

import tracemalloc
from collections.abc import Callable
from pathlib import Path

import anyio
import pytest

from snapshot_mcp.cloud.api import MAX_BODY_BYTES
from tests.hostile import replies
from tests.hostile.raw_cloud import Line, RawCloud, Said, Trick, answer
from tests.hostile.scene import (
    REMOTE,
    WRITES,
    Scene,
    assert_refused,
    assert_true,
    facts,
    told_by,
)

pytestmark = [pytest.mark.no_cover, pytest.mark.usefixtures("clean_log")]

MEGABYTE = 1024 * 1024
WHOLE = 100 * MEGABYTE
IN_BUFFERS = 8 * MEGABYTE
"""What the sockets of this machine may have taken that nobody has read."""

_BLOCK = b"[" * replies.BLOCK
_CHUNK = b"%x\r\n" % len(_BLOCK) + _BLOCK + b"\r\n"
_HEAD = b"HTTP/1.1 200 OK\r\n"
BODIES = {
    "of a length": (answer(b"", length=WHOLE), _BLOCK),
    "of no length": (_HEAD + b"\r\n", _BLOCK),
    "in chunks": (_HEAD + b"transfer-encoding: chunked\r\n\r\n", _CHUNK),
}


@pytest.mark.parametrize(("head", "part"), BODIES.values(), ids=BODIES)
async def test_a_body_of_100_megabytes_is_cut_off_at_the_cap(
    stage: Scene, head: bytes, part: bytes
) -> None:
    creation = await stage.write("create_snapshot", happen=True)
    trick = replies.pours(head, part, at_most=WHOLE)
    for wish in (stage.reads[0], creation):
        before = stage.cloud.sent
        tracemalloc.start()
        result = await stage.tricked(wish, trick)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert_refused(result) if wish is not creation else assert_true(wish, result)
        assert peak < 4 * MAX_BODY_BYTES
        assert MAX_BODY_BYTES < stage.cloud.sent - before < MAX_BODY_BYTES + IN_BUFFERS
    await stage.next_calls_work()


async def test_a_bomb_of_nested_compression_is_not_unpacked(stage: Scene) -> None:
    bomb = replies.bomb(WHOLE)
    for coding in ("gzip", "gzip, gzip", "deflate", "br", "zstd", "GZip"):
        trick = replies.says(answer(bomb, f"content-encoding: {coding}"))
        tracemalloc.start()
        assert_refused(await stage.tricked(stage.reads[0], trick))
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert peak < 4 * MEGABYTE
    await stage.next_calls_work()


PLACES: dict[str, Callable[[str], str]] = {
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
    stage: Scene, tmp_path: Path, status: int
) -> None:
    async with RawCloud(tmp_path / "elsewhere.db", stage.turned.now).serving() as elsewhere:

        def redirect(place: str) -> Trick:
            lines = (f"location: {place}", f"refresh: 0; url={elsewhere.url}")
            return replies.says(answer(b"{}", *lines, status=f"{status} {REMOTE}"))

        before = len(stage.cloud.seen)
        for place in PLACES.values() if status == 302 else [PLACES["another host"]]:
            trick = redirect(place(elsewhere.url))
            assert_refused(await stage.tricked(stage.reads[0], trick))
        assert len({it.target for it in stage.cloud.seen[before:]}) == 1
        for tool in WRITES if status == 302 else (WRITES[status % 3],):
            wish = await stage.write(tool, happen=status % 2 == 0)
            assert_true(wish, await stage.tricked(wish, redirect(elsewhere.url)))
        assert elsewhere.connections == 0
    await stage.next_calls_work()


def followed_by(extra: Callable[[bytes], bytes], pause: float) -> Trick:
    """The honest answer, and then bytes that nobody asked for, on a connection that stays."""

    async def trick(line: Line, said: Said) -> bool:
        parts = (said.whole, extra(said.body))
        for part in parts if pause else (b"".join(parts),):
            await line.send(part)
            await anyio.sleep(pause)
        return True

    return trick


def _forged(body: bytes) -> bytes:
    return answer(body.replace(b"training-box", REMOTE.encode()))


EXTRAS: dict[str, Callable[[bytes], bytes]] = {
    "a second answer": _forged,
    "many answers": lambda body: _forged(body) * 20,
    "a refusal": lambda _: answer(b'{"status": false}', status="404 Not Found"),
    "a hint": lambda _: b"HTTP/1.1 103 Early Hints\r\n\r\n",
    "words": lambda _: REMOTE.encode(),
}
# A whole answer in one piece with another one is left out: it waits where no client sees it, and is
# taken for the next. Whoever can send it can as well change the answers (docs/security.md).
AT_ONCE = ("a hint", "words")
AFTER = [
    pytest.param(extra, pause, id=f"{name} {'a moment later' if pause else 'at once'}")
    for name, extra in EXTRAS.items()
    for pause in (0, 0.02)
    if pause or name in AT_ONCE
]


@pytest.mark.parametrize(("extra", "pause"), AFTER)
async def test_what_comes_after_an_answer_is_not_the_answer_to_the_next_question(
    stage: Scene, extra: Callable[[bytes], bytes], pause: float
) -> None:
    # Each is the last request of its call, so that the connection rests when the extra comes.
    for wish in (stage.reads[1], await stage.write("create_snapshot", happen=True)):
        await stage.tricked(wish, followed_by(extra, pause))
        await anyio.sleep(2 * pause)
        for read, honest in zip(stage.reads, stage.honest, strict=True):
            answered = await stage.client.call_tool(read.tool, read.arguments)
            assert told_by(answered) == facts(honest)
    await stage.next_calls_work()
