"""What a person sees of an answer: every fact once, and other people's text as text."""

import re
from io import StringIO
from typing import Any

from rich.console import Console

from snapshot_mcp.cli.tables import tables


def shown(content: dict[str, Any], width: int = 100) -> str:
    console = Console(file=StringIO(), width=width)
    for part in tables(content):
        console.print(part)
    file: Any = console.file
    return file.getvalue()


def test_a_list_of_things_is_a_table_without_its_empty_columns() -> None:
    things = [{"id": 1, "name": "a", "labels": ["x", "y"], "gone": None}, {"id": 22, "size": 3}]
    lines = shown({"snapshots": things, "next_cursor": ""}).splitlines()
    assert lines[2].split() == ["id", "name", "labels", "size"]
    assert lines[4].split() == ["1", "a", "x,", "y"]
    assert lines[5].split() == ["22", "3", "GB"]


def test_facts_are_lines_and_an_empty_answer_is_none() -> None:
    plan: dict[str, object] = {"vm_gone": True, "older": [], "made_at": "2026-11-20T12:34:56Z"}
    told = shown({"total": 2, "plan": plan, "x": None})
    assert [line.split() for line in told.splitlines() if line.strip()] == [
        ["plan"],
        ["vm", "gone", "yes"],
        ["made", "at", "(UTC)", "2026-11-20", "12:34"],
        ["total", "2"],
    ]
    assert shown({"a": None}).strip() == ""


def test_what_stands_within_a_part_is_told_with_its_name() -> None:
    told = shown({"growth": {"machines": [{"id": 1, "deep": {"a": 1}}], "more": 2}})
    assert told.splitlines()[0].strip() == "growth, machines"
    assert '{"a": 1}' in told
    assert "growth\n more  2" in re.sub(" +\n", "\n", told)


def test_every_size_has_its_unit_and_every_time_is_one_that_people_read() -> None:
    told = shown(
        {
            "image": {"size": 9_663_676_416, "display_size": "9 GB"},
            "machines": [{"recent_size": 67, "last_snapshot": "2026-10-28T02:10:17Z"}],
            "warnings": ["It is the last one.", "Its VM is gone."],
        }
    )
    assert [line.split() for line in told.splitlines() if "size" in line or "last" in line] == [
        ["size", "in", "bytes", "9663676416"],
        ["display", "size", "9", "GB"],
        ["recent", "size", "last", "snapshot", "(UTC)"],
        ["warnings", "It", "is", "the", "last", "one.", "Its", "VM", "is", "gone."],
    ]
    assert ["67", "GB", "2026-10-28", "02:10"] in [line.split() for line in told.splitlines()]


def test_other_peoples_text_is_neither_markup_nor_control() -> None:
    told = shown({"name": "[bold red]a[/] \x1b[31mb\u202e", "list": [{"name": "[link=x]c"}]})
    assert "[bold red]a[/] [31mb" in told
    assert "[link=x]c" in told
    assert "\x1b" not in told


def test_nothing_is_cut_where_the_terminal_is_narrow() -> None:
    name = "a" * 90
    assert shown({"snapshots": [{"name": name}]}, width=30).count("a") == 92  # two of the head
