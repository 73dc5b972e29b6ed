"""The README is held to the code: what it lists is what there is."""

import re
from pathlib import Path

from mcp.types import ToolAnnotations

from snapshot_mcp import settings as settings_module
from snapshot_mcp.cli import build_parser
from snapshot_mcp.tools.toolsets import all_tools

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def table(name: str) -> list[list[str]]:
    """The cells of the README's table between the marks of that name, without its head."""
    marked = re.search(rf"<!-- {name} -->\n(.*?)\n<!-- /{name} -->", README, re.DOTALL)
    assert marked is not None
    rows = marked.group(1).splitlines()[2:]
    return [[cell.strip() for cell in row.strip("|").split("|")] for row in rows]


def effect(hints: ToolAnnotations | None, description: str) -> str:
    """How the README says what a tool changes."""
    assert hints is not None
    if hints.read_only_hint:
        return "no"
    verb = "destroys" if hints.destructive_hint else "adds"
    return f"{verb}, with consent" if "plan_token" in description else verb


def test_the_table_of_tools_is_that_of_the_server() -> None:
    wanted = [
        [
            f"`{tool.name}`",
            tool.description.partition(". ")[0].rstrip(".") + ".",
            effect(tool.annotations, tool.description),
        ]
        for tool in all_tools(read_only=False)
    ]
    assert table("tools") == wanted


def test_every_setting_that_is_read_is_in_the_readme_and_no_other() -> None:
    source = Path(settings_module.__file__).read_text(encoding="utf-8")
    read = set(re.findall(r"(?:SNAPSHOT_MCP|HYPERSTACK)_[A-Z_]+", source))
    told = {name for row in table("settings") for name in re.findall(r"`([A-Z_]+)`", row[0])}
    assert told == read


def test_every_command_that_there_is_is_in_the_readme_and_can_be_parsed() -> None:
    told = [row[0].strip("`").split()[1:] for row in table("commands")]
    parser = build_parser()
    assert {parser.parse_args(words).command for words in told} == {
        None,
        "serve",
        "sandbox",
        "demo",
        "ledger",
    }
    commands = re.search(r"\{(.*?)\}|command", parser.format_usage())
    assert commands is not None
    for words in told:
        assert not words or words[0] in parser.format_help()


def test_every_file_that_the_readme_names_is_there() -> None:
    for path in re.findall(r"`((?:server|prompts|tests|docs|bench)/[\w/.]*)`", README):
        assert (ROOT / path).exists(), path


def test_the_changelog_speaks_of_what_is_unreleased() -> None:
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert "## [Unreleased]" in changelog


def test_every_prompt_file_is_named_in_the_readme() -> None:
    for path in (ROOT / "prompts").glob("*.md"):
        assert f"`{path.stem}`" in README
