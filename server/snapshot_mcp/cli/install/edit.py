"""Adding an entry to a configuration and removing it: text in, text out, all else as it was."""

import json
import re
from collections.abc import Mapping

from snapshot_mcp.cli.install.jsonc import (
    JsonObject,
    Member,
    object_at,
    root_of,
    strict,
    without_comments,
)

_FIRST_INDENT = re.compile(r"\{[ \t]*\r?\n([ \t]+)\"")


def add_entry(text: str, section: str, name: str, entry: Mapping[str, object]) -> str:
    """The configuration with `entry` under `name` in `section`; an older one is replaced.

    Raises:
        ValueError: the text is no valid JSON object, or the section is none.
    """
    if not text.strip():
        return json.dumps({section: {name: entry}}, indent=2, ensure_ascii=False) + "\n"
    plain = strict(text)
    root = root_of(plain)
    found = root.find(section)
    if found is None:
        return _with_member(text, root, 1, section, {name: entry})
    servers = _section(plain, found)
    older = servers.find(name)
    if older is None:
        return _with_member(text, servers, 2, name, entry)
    if older.value == entry:
        return text
    return text[: older.value_start] + _printed(text, servers, 2, entry) + text[older.end :]


def remove_entry(text: str, section: str, name: str) -> str:
    """The configuration without the entry `name` of `section`; unchanged where there is none.

    Raises:
        ValueError: as in `with_entry`.
    """
    while text.strip():
        plain = strict(text)
        found = root_of(plain).find(section)
        servers = _section(plain, found) if found else None
        entry = servers.find(name) if servers else None
        if servers is None or entry is None:
            break
        text = _without_member(text, servers, entry)  # once for each entry of that name
    return text


def _section(plain: str, found: Member) -> JsonObject:
    if not isinstance(found.value, dict):
        raise ValueError(f'"{found.key}" in it is no object')  # noqa: TRY004 - the text is wrong
    return object_at(plain, found.value_start)


def _with_member(text: str, into: JsonObject, depth: int, key: str, value: object) -> str:
    member = f"{json.dumps(key, ensure_ascii=False)}: {_printed(text, into, depth, value)}"
    if _on_one_line(text, into):
        before, after = " ", ""
    else:
        before = _line_end(text) + _indent(text) * depth
        after = "" if into.members else _line_end(text) + _indent(text) * (depth - 1)
    last = into.members[-1].end if into.members else into.start + 1
    kept = text[last : into.end].rstrip()  # comments, and perhaps a comma
    comma = "," if into.members and "," not in without_comments(text)[last : into.end] else ""
    rest = text[last + len(kept) :] if into.members else text[into.end :]
    return text[:last] + comma + kept + before + member + after + rest


def _without_member(text: str, servers: JsonObject, entry: Member) -> str:
    plain = without_comments(text)
    place = servers.members.index(entry)
    start = len(text[: entry.start].rstrip())
    comma_after = plain.find(",", entry.end, _next_start(servers, place))
    end = entry.end if comma_after < 0 else comma_after + 1
    head = text[:start]
    if place and place == len(servers.members) - 1:
        comma = plain.find(",", servers.members[place - 1].end)
        head = text[:comma] + text[comma + 1 : start]
    if not (head[servers.start + 1 :] + text[end : servers.end]).strip():
        end = servers.end  # empty now: the braces may stand together
    return head + text[end:]


def _next_start(servers: JsonObject, place: int) -> int:
    later = servers.members[place + 1 : place + 2]
    return later[0].start if later else servers.end


def _printed(text: str, within: JsonObject, depth: int, value: object) -> str:
    if _on_one_line(text, within):
        return json.dumps(value, ensure_ascii=False)
    lines = json.dumps(value, indent=_indent(text), ensure_ascii=False).split("\n")
    return (_line_end(text) + _indent(text) * depth).join(lines)


def _on_one_line(text: str, within: JsonObject) -> bool:
    return bool(within.members) and "\n" not in text[within.start : within.end]


def _indent(text: str) -> str:
    found = _FIRST_INDENT.search(text)
    return found[1] if found else "  "


def _line_end(text: str) -> str:
    return "\r\n" if "\r\n" in text else "\n"
