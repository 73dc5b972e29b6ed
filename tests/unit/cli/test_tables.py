"""Tables of a result: every value once, and text of others never as markup."""

import re
from io import StringIO
from typing import Any

from rich.console import Console

from snapshot_mcp.cli.tables import render_tables


def render(content: dict[str, Any], width: int = 100) -> str:
    console = Console(file=StringIO(), width=width)
    for part in render_tables(content):
        console.print(part)
    file: Any = console.file
    return file.getvalue()


def test_a_list_of_objects_is_a_table_without_empty_columns() -> None:
    objects = [{"id": 1, "name": "a", "labels": ["x", "y"], "gone": None}, {"id": 22, "size": 3}]
    lines = render({"snapshots": objects, "next_cursor": ""}).splitlines()
    assert lines[2].split() == ["id", "name", "labels", "size"]
    assert lines[4].split() == ["1", "a", "x,", "y"]
    assert lines[5].split() == ["22", "3", "GB"]


def test_single_values_are_lines_and_empty_values_are_omitted() -> None:
    plan: dict[str, object] = {"vm_gone": True, "older": [], "made_at": "2026-11-20T12:34:56Z"}
    output = render({"total": 2, "plan": plan, "x": None})
    assert [line.split() for line in output.splitlines() if line.strip()] == [
        ["plan"],
        ["vm", "gone", "yes"],
        ["made", "at", "(UTC)", "2026-11-20", "12:34"],
        ["total", "2"],
    ]
    assert render({"a": None}).strip() == ""


def test_a_nested_part_is_printed_with_its_heading() -> None:
    output = render({"growth": {"machines": [{"id": 1, "deep": {"a": 1}}], "more": 2}})
    assert output.splitlines()[0].strip() == "growth, machines"
    assert '{"a": 1}' in output
    assert "growth\n more  2" in re.sub(" +\n", "\n", output)


def test_sizes_have_a_unit_and_times_are_readable() -> None:
    output = render(
        {
            "image": {"size": 9_663_676_416, "display_size": "9 GB"},
            "machines": [{"recent_size": 67, "last_snapshot": "2026-10-28T02:10:17Z"}],
            "warnings": ["It is the last one.", "Its VM is gone."],
        }
    )
    assert [line.split() for line in output.splitlines() if "size" in line or "last" in line] == [
        ["size", "in", "bytes", "9663676416"],
        ["display", "size", "9", "GB"],
        ["recent", "size", "last", "snapshot", "(UTC)"],
        ["warnings", "It", "is", "the", "last", "one.", "Its", "VM", "is", "gone."],
    ]
    assert ["67", "GB", "2026-10-28", "02:10"] in [line.split() for line in output.splitlines()]


def test_text_of_others_is_neither_markup_nor_control_characters() -> None:
    output = render({"name": "[bold red]a[/] \x1b[31mb\u202e", "list": [{"name": "[link=x]c"}]})
    assert "[bold red]a[/] [31mb" in output
    assert "[link=x]c" in output
    assert "\x1b" not in output


def test_a_narrow_terminal_folds_long_values_instead_of_cutting_them() -> None:
    name = "a" * 90
    assert (
        render({"snapshots": [{"name": name}]}, width=30).count("a") == 92
    )  # two are in the headings
