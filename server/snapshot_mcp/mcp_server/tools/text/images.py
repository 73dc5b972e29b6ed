"""Text of the results about images and the history of a snapshot."""

from collections.abc import Iterator

from snapshot_mcp.core.sanitize import cell_text, quoted
from snapshot_mcp.models.cloud import SnapshotEvent
from snapshot_mcp.models.images import ImageResult, SnapshotEventList


def render_image_result(result: ImageResult) -> str:
    """Return the outcome, the image and the next step."""
    image = result.image
    image_text = "" if image is None else f", image {cell_text(image.id)} {quoted(image.name)}"
    return f"{result.outcome}: snapshot {result.snapshot_id}{image_text}\n{result.next_step}"


def render_event_list(result: SnapshotEventList) -> str:
    """Return one line for each event, below a line with the names of the columns."""
    return "\n".join(_event_list_lines(result))


def _event_list_lines(result: SnapshotEventList) -> Iterator[str]:
    shown = len(result.events)
    part = "" if shown == result.total else f"; {shown} here"
    yield f"{result.total} events of snapshot {result.snapshot_id}{part}"
    if result.events:
        yield "time(UTC) type reason user message"
        yield from map(_event_line, result.events)
    if result.unreadable:
        yield f"{result.unreadable} entries could not be read and are not counted."
    if result.next_cursor:
        yield f"next_cursor {result.next_cursor}"


def _event_line(event: SnapshotEvent) -> str:
    time = f"{event.time:%Y-%m-%d %H:%M}" if event.time else "?"
    columns = map(cell_text, (event.type, event.reason, event.user_id))
    return " ".join([time, *columns, quoted(event.message or "")])
