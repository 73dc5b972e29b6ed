"""Add an entry to the text of a configuration, or remove it, without changing the rest."""

import json
import re
from collections.abc import Mapping

from snapshot_mcp.cli.install.jsonc import (
    JsonObject,
    Member,
    blank_comments,
    parse_object,
    parse_root,
    to_strict_json,
)

_FIRST_INDENT = re.compile(r"\{[ \t]*\r?\n([ \t]+)\"")


def add_entry(text: str, section: str, name: str, entry: Mapping[str, object]) -> str:
    """Return the configuration with `entry` under `name` in `section`, replacing an existing one.

    Raises:
        ValueError: the text or its section is not a JSON object.
    """
    if not text.strip():
        return json.dumps({section: {name: entry}}, indent=2, ensure_ascii=False) + "\n"
    plain = to_strict_json(text)
    root = parse_root(plain)
    section_member = root.find(section)
    if section_member is None:
        return _insert_member(text, root, 1, section, {name: entry})
    servers = _parse_section(plain, section_member)
    existing = servers.find(name)
    if existing is None:
        return _insert_member(text, servers, 2, name, entry)
    if existing.value == entry:
        return text
    new_value = _format_value(text, servers, 2, entry)
    return text[: existing.value_start] + new_value + text[existing.end :]


def find_entry(text: str, section: str, name: str) -> object:
    """Return the value of the entry `name` in `section`; None if there is none.

    Raises:
        ValueError: as in `add_entry`.
    """
    if not text.strip():
        return None
    plain = to_strict_json(text)
    section_member = parse_root(plain).find(section)
    entry = _parse_section(plain, section_member).find(name) if section_member else None
    return entry.value if entry else None


def remove_entry(text: str, section: str, name: str) -> str:
    """Return the configuration without the entry `name` of `section`.

    Raises:
        ValueError: as in `add_entry`.
    """
    while text.strip():
        plain = to_strict_json(text)
        section_member = parse_root(plain).find(section)
        servers = _parse_section(plain, section_member) if section_member else None
        entry = servers.find(name) if servers else None
        if servers is None or entry is None:
            break
        text = _delete_member(text, servers, entry)  # once for each entry with this name
    return text


def _parse_section(plain: str, section: Member) -> JsonObject:
    if not isinstance(section.value, dict):
        raise ValueError(f'its "{section.key}" is not an object')  # noqa: TRY004 - the text is wrong
    return parse_object(plain, section.value_start)


def _insert_member(text: str, parent: JsonObject, depth: int, key: str, value: object) -> str:
    member = f"{json.dumps(key, ensure_ascii=False)}: {_format_value(text, parent, depth, value)}"
    if _is_single_line(text, parent):
        before, after = " ", ""
    else:
        before = _line_ending(text) + _indent(text) * depth
        after = "" if parent.members else _line_ending(text) + _indent(text) * (depth - 1)
    last = parent.members[-1].end if parent.members else parent.start + 1
    trailer = text[last : parent.end].rstrip()  # comments, and perhaps a comma
    comma = "," if parent.members and "," not in blank_comments(text)[last : parent.end] else ""
    rest = text[last + len(trailer) :] if parent.members else text[parent.end :]
    return text[:last] + comma + trailer + before + member + after + rest


def _delete_member(text: str, servers: JsonObject, entry: Member) -> str:
    plain = blank_comments(text)
    index = servers.members.index(entry)
    start = len(text[: entry.start].rstrip())
    comma_after = plain.find(",", entry.end, _next_start(servers, index))
    end = entry.end if comma_after < 0 else comma_after + 1
    head = text[:start]
    if index and index == len(servers.members) - 1:
        comma = plain.find(",", servers.members[index - 1].end)
        head = text[:comma] + text[comma + 1 : start]
    if not (head[servers.start + 1 :] + text[end : servers.end]).strip():
        end = servers.end  # the object is empty now: join its braces
    return head + text[end:]


def _next_start(servers: JsonObject, index: int) -> int:
    later = servers.members[index + 1 : index + 2]
    return later[0].start if later else servers.end


def _format_value(text: str, parent: JsonObject, depth: int, value: object) -> str:
    if _is_single_line(text, parent):
        return json.dumps(value, ensure_ascii=False)
    lines = json.dumps(value, indent=_indent(text), ensure_ascii=False).split("\n")
    return (_line_ending(text) + _indent(text) * depth).join(lines)


def _is_single_line(text: str, parent: JsonObject) -> bool:
    return bool(parent.members) and "\n" not in text[parent.start : parent.end]


def _indent(text: str) -> str:
    match = _FIRST_INDENT.search(text)
    return match[1] if match else "  "


def _line_ending(text: str) -> str:
    return "\r\n" if "\r\n" in text else "\n"
