"""A tool's structured content for people: lists of things as tables, single facts as lines.

Names and descriptions were written by others: they are shown as text, never as markup.
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

_MAX_CELL_WIDTH = 4_000
_GIGABYTES = {"size", "total_size", "recent_size", "ram", "disk", "ephemeral"}
_TIME = re.compile(r"(\d{4}-\d\d-\d\d)T(\d\d:\d\d):\d\d(\.\d+)?Z")
_OF_TIME = ("_at", "last_snapshot")
Thing = Mapping[str, Any]


def tables(content: Thing, title: str = "") -> Iterator[RenderableType]:
    """The content, its parts in their order, single facts last; what is empty is left out.

    Args:
        content: the structured content of an answer, or a part of it.
        title: the name of that part.
    """
    facts: dict[str, object] = {}
    for key, value in content.items():
        part = f"{title}, {_words(key)}" if title else _words(key)
        if _is_list_of_things(value):
            yield Text(part, style="bold cyan")
            yield _table(value)
        elif isinstance(value, Mapping):
            yield from tables(cast("Thing", value), part)
        elif _is_told(value):
            # Snapshots and volumes have their size in GB, images in bytes.
            facts["size_in_bytes" if key == "size" and title.endswith("image") else key] = value
    if facts:
        yield Text(title, style="bold cyan") if title else Text()
        yield _facts(facts)


def _is_list_of_things(value: object) -> TypeGuard[Sequence[Thing]]:
    entries = cast("Sequence[object]", value) if isinstance(value, list | tuple) else ()
    return bool(entries) and all(isinstance(it, Mapping) for it in entries)


def _is_told(value: object) -> bool:
    return value not in (None, "", [], {})


def _table(things: Sequence[Thing]) -> Table:
    table = Table(box=box.SIMPLE_HEAD)
    named = dict.fromkeys(key for thing in things for key in thing)
    keys = [key for key in named if any(_is_told(it.get(key)) for it in things)]
    for key in keys:
        numbers = all(isinstance(it.get(key), int | float | None) for it in things)
        table.add_column(_words(key), justify="right" if numbers else "left", overflow="fold")
    for thing in things:
        table.add_row(*(_cell(key, thing.get(key)) for key in keys))
    return table


def _facts(facts: Thing) -> Table:
    table = Table(box=None, show_header=False)
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for key, value in facts.items():
        table.add_row(_words(key), _cell(key, value))
    return table


def _cell(key: str, value: object) -> Text:
    match value:
        case None:
            text = ""
        case bool():
            text = "yes" if value else "no"
        case int() | float():
            text = f"{value} GB" if key in _GIGABYTES else str(value)
        case str():
            time = _TIME.fullmatch(value)
            text = f"{time[1]} {time[2]}" if time else value
        case list() | tuple():
            entries = [str(it) for it in cast("Sequence[object]", value)]
            # Sentences have their own ends; labels have none.
            text = (" " if entries and entries[0].endswith(".") else ", ").join(entries)
        case _:
            text = json.dumps(value, ensure_ascii=False, default=str)
    return Text(sanitize(text, _MAX_CELL_WIDTH).text)


def _words(key: str) -> str:
    return key.replace("_", " ") + (" (UTC)" if key.endswith(_OF_TIME) else "")
