"""A tool's structured content as tables for people: lists become tables, single values lines.

Names and descriptions were written by others: they are printed as text, never as markup.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypeGuard, cast

from rich import box
from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from snapshot_mcp.core.sanitize import sanitize

Fields = Mapping[str, Any]
_MAX_CELL_LENGTH = 4_000
_GIGABYTE_KEYS = {"size", "total_size", "recent_size", "ram", "disk", "ephemeral"}
_TIME = re.compile(r"(\d{4}-\d\d-\d\d)T(\d\d:\d\d):\d\d(\.\d+)?Z")
_TIME_SUFFIXES = ("_at", "last_snapshot")


def render_tables(content: Fields, title: str = "") -> Iterator[RenderableType]:
    """Yield the parts of the content in their order, single values last, without empty values.

    Args:
        content: the structured content of a result, or a part of it.
        title: the heading of that part.
    """
    single_values: dict[str, object] = {}
    for key, value in content.items():
        heading = f"{title}, {_heading(key)}" if title else _heading(key)
        if _is_list_of_objects(value):
            yield Text(heading, style="bold cyan")
            yield _object_table(value)
        elif isinstance(value, Mapping):
            yield from render_tables(cast("Fields", value), heading)
        elif not _is_empty(value):
            # Snapshots and volumes have their size in GB, images in bytes.
            is_image_size = key == "size" and title.endswith("image")
            single_values["size_in_bytes" if is_image_size else key] = value
    if single_values:
        yield Text(title, style="bold cyan") if title else Text()
        yield _value_table(single_values)


def _is_list_of_objects(value: object) -> TypeGuard[Sequence[Fields]]:
    items = cast("Sequence[object]", value) if isinstance(value, list | tuple) else ()
    return bool(items) and all(isinstance(item, Mapping) for item in items)


def _is_empty(value: object) -> bool:
    return value in (None, "", [], {})


def _object_table(objects: Sequence[Fields]) -> Table:
    table = Table(box=box.SIMPLE_HEAD)
    all_keys = dict.fromkeys(key for fields in objects for key in fields)
    keys = [key for key in all_keys if not all(_is_empty(fields.get(key)) for fields in objects)]
    for key in keys:
        numeric = all(isinstance(fields.get(key), int | float | None) for fields in objects)
        table.add_column(_heading(key), justify="right" if numeric else "left", overflow="fold")
    for fields in objects:
        table.add_row(*(_cell(key, fields.get(key)) for key in keys))
    return table


def _value_table(values: Fields) -> Table:
    table = Table(box=None, show_header=False)
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for key, value in values.items():
        table.add_row(_heading(key), _cell(key, value))
    return table


def _cell(key: str, value: object) -> Text:
    match value:
        case None:
            text = ""
        case bool():
            text = "yes" if value else "no"
        case int() | float():
            text = f"{value} GB" if key in _GIGABYTE_KEYS else str(value)
        case str():
            time = _TIME.fullmatch(value)
            text = f"{time[1]} {time[2]}" if time else value
        case list() | tuple():
            items = [str(item) for item in cast("Sequence[object]", value)]
            # Sentences end with a full stop and need no comma; labels do.
            text = (" " if items and items[0].endswith(".") else ", ").join(items)
        case _:
            text = json.dumps(value, ensure_ascii=False, default=str)
    return Text(sanitize(text, _MAX_CELL_LENGTH).text)


def _heading(key: str) -> str:
    return key.replace("_", " ") + (" (UTC)" if key.endswith(_TIME_SUFFIXES) else "")
