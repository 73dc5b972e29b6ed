"""The answers about images and history as text; what other people wrote stands quoted."""

from collections.abc import Iterator

from snapshot_mcp.core.sanitize import cell_text, quoted
from snapshot_mcp.models.cloud import SnapshotEvent
from snapshot_mcp.models.images import ImageResult, SnapshotEventList


def image_result(answer: ImageResult) -> str:
    """What was seen to happen, and what to do next."""
    image = answer.image
    line = "" if image is None else f", image {cell_text(image.id)} {quoted(image.name)}"
    return f"{answer.outcome}: snapshot {answer.snapshot_id}{line}\n{answer.next_step}"


def event_list(answer: SnapshotEventList) -> str:
    """A line for each event, under a line that says what its columns are."""
    return "\n".join(_lines(answer))


def _lines(answer: SnapshotEventList) -> Iterator[str]:
    here = "" if len(answer.events) == answer.total else f"; {len(answer.events)} here"
    yield f"{answer.total} events of snapshot {answer.snapshot_id}{here}"
    if answer.events:
        yield "time(UTC) type reason user message"
        yield from map(_line, answer.events)
    if answer.unreadable:
        yield f"{answer.unreadable} entries could not be read and are not counted."
    if answer.next_cursor:
        yield f"next_cursor {answer.next_cursor}"


def _line(event: SnapshotEvent) -> str:
    time = f"{event.time:%Y-%m-%d %H:%M}" if event.time else "?"
    columns = map(cell_text, (event.type, event.reason, event.user_id))
    return " ".join([time, *columns, quoted(event.message or "")])
