"""A tool's structured content for people: lists of things as tables, single facts as lines.

Names and descriptions were written by others: they are shown as text, never as markup.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, cast

from rich import box
from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from snapshot_mcp.untrusted import showable

_WIDEST = 4_000
_UNITS = {"size": " GB"}
Thing = Mapping[str, Any]


def tables(content: Thing) -> Iterator[RenderableType]:
    """The content, its parts in their order; what is empty is left out."""
    facts: dict[str, object] = {}
    for key, value in content.items():
        if _is_list_of_things(value):
            yield _table(key, value)
        elif isinstance(value, Mapping):
            yield _facts(key, cast("Thing", value))
        else:
            facts[key] = value
    if any(map(_is_told, facts.values())):
        yield _facts("", facts)


def _is_list_of_things(value: object) -> bool:
    entries = cast("Sequence[object]", value) if isinstance(value, list | tuple) else ()
    return bool(entries) and all(isinstance(it, Mapping) for it in entries)


def _is_told(value: object) -> bool:
    return value not in (None, "", [], {})


def _table(title: str, things: Sequence[Thing]) -> Table:
    table = Table(title=_words(title), box=box.SIMPLE_HEAD, title_justify="left")
    named = dict.fromkeys(key for thing in things for key in thing)
    keys = [key for key in named if any(_is_told(it.get(key)) for it in things)]
    for key in keys:
        numbers = all(isinstance(it.get(key), int | float | None) for it in things)
        table.add_column(_words(key), justify="right" if numbers else "left", overflow="fold")
    for thing in things:
        table.add_row(*(_cell(key, thing.get(key)) for key in keys))
    return table


def _facts(title: str, facts: Thing) -> Table:
    table = Table(
        title=_words(title) or None,
        box=None,
        show_header=False,
        title_justify="left",
        pad_edge=False,
    )
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for key, value in facts.items():
        if _is_told(value):
            table.add_row(_words(key), _cell(key, value))
    return table


def _cell(key: str, value: object) -> Text:
    match value:
        case None:
            text = ""
        case bool():
            text = "yes" if value else "no"
        case int() | float():
            text = f"{value}{_UNITS.get(key, '')}"
        case str():
            text = value
        case list() | tuple():
            text = ", ".join(map(str, cast("Sequence[object]", value)))
        case _:
            text = json.dumps(value, ensure_ascii=False, default=str)
    return Text(showable(text, _WIDEST).text)


def _words(key: str) -> str:
    return key.replace("_", " ")
