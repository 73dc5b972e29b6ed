"""The printed difference between two versions of our entry, without values that may be secret.

Other entries and other settings of the client are not part of it.
"""

import json
import re
from collections.abc import Collection, Iterator, Mapping
from difflib import unified_diff
from typing import cast

from snapshot_mcp.settings.redaction import redact_address

HIDDEN = "(hidden)"
_REFERENCE = re.compile(r"\$\{(env:)?[A-Za-z_][A-Za-z0-9_]*\}")
_MAX_LINE_LENGTH = 300


def masked_diff(before: object, after: object, name: str, file: str, shown: Collection[str]) -> str:
    """Return a unified diff of an entry.

    Args:
        before: the present entry; None if there is none.
        after: the new entry; None if it is removed.
        name: name of the entry.
        file: name of the file.
        shown: the texts to show; all others are hidden, except references to variables.
    """
    lines = unified_diff(
        _lines(before, name, shown),
        _lines(after, name, shown),
        f"{file} (before)",
        f"{file} (after)",
        lineterm="",
    )
    return "\n".join(map(_printable, lines))


def _lines(entry: object, name: str, shown: Collection[str]) -> list[str]:
    if entry is None:
        return []
    masked = {name: _mask(entry, shown)}
    return json.dumps(masked, indent=2, ensure_ascii=False).splitlines()[1:-1]


def _mask(value: object, shown: Collection[str]) -> object:
    match value:
        case dict():
            members = cast("Mapping[str, object]", value)
            return {key: _mask(member, shown) for key, member in members.items()}
        case list():
            return [_mask(member, shown) for member in cast("list[object]", value)]
        case str() if value in shown or _REFERENCE.fullmatch(value):
            return redact_address(value)
        case _:
            return HIDDEN


def leaf_texts(value: object) -> Iterator[str]:
    """Yield all texts in a value, without the names of members."""
    match value:
        case dict():
            for member in cast("Mapping[str, object]", value).values():
                yield from leaf_texts(member)
        case list():
            for member in cast("list[object]", value):
                yield from leaf_texts(member)
        case str():
            yield value
        case _:
            pass


def _printable(line: str) -> str:
    cut = line if len(line) <= _MAX_LINE_LENGTH else line[: _MAX_LINE_LENGTH - 1] + "…"
    return "".join(char if char.isprintable() or char == "\t" else "?" for char in cut)
