"""The commands in docs/ run, and print the lines that the pages show."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.processes.conftest import Command, command
from tests.processes.helpers import environment

__all__ = ["command"]

pytestmark = pytest.mark.slow

DOCS = Path(__file__).parents[2] / "docs"
PAGES = ("install", "create-snapshots", "restore-snapshots", "delete-snapshots", "command-line")
_CONSOLE = re.compile(r"```console\n(.*?)```", re.DOTALL)
_CODE = re.compile(r" # exit code (\d)$")


class Step(NamedTuple):
    """One command of a page: its words, its exit code, and some lines of its output."""

    words: list[str]
    code: int
    lines: list[str]


def steps(page: str) -> Iterator[Step]:
    text = (DOCS / f"{page}.md").read_text(encoding="utf-8")
    for block in _CONSOLE.findall(text):
        for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
            first, *lines = part.splitlines()
            code = _CODE.search(first)
            words = shlex.split(_CODE.sub("", first))
            assert words[0] == "snapshot-mcp"
            yield Step(words[1:], int(code[1]) if code else 0, lines)


@pytest.mark.parametrize("page", PAGES)
def test_every_command_of_a_page_prints_what_the_page_shows(
    command: Command, page: str, tmp_path: Path
) -> None:
    home = {"HOME": str(tmp_path), "USERPROFILE": str(tmp_path), "XDG_CONFIG_HOME": ""}
    page_steps = list(steps(page))
    for step in page_steps:
        ended = command(*step.words, env=environment(tmp_path / "data", **home))
        assert ended.returncode == step.code, (step, ended.stderr)
        printed = ended.stdout + ended.stderr
        for line in step.lines:
            assert any(shown.startswith(line) for shown in printed.splitlines()), (line, printed)
    assert page_steps
