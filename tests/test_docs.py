"""The README is held to the code: what it lists is what there is."""

import inspect
import re
from pathlib import Path

from docs.generators.pictures import PICTURES, drawn
from docs.generators.reference import describe_effect, reference, settings_table
from snapshot_mcp.cli.parser import build_parser
from snapshot_mcp.mcp_server.tools.toolsets import TOOLS
from snapshot_mcp.settings import environment as settings_module
from snapshot_mcp.settings.reference import SETTINGS
from snapshot_mcp.telemetry import logs
from snapshot_mcp.transports.http import settings as service

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def table(name: str) -> list[list[str]]:
    """The cells of the README's table between the marks of that name, without its head."""
    marked = re.search(rf"<!-- {name} -->\n(.*?)\n<!-- /{name} -->", README, re.DOTALL)
    assert marked is not None
    rows = marked.group(1).splitlines()[2:]
    return [[cell.strip() for cell in row.strip("|").split("|")] for row in rows]


def test_the_table_of_tools_is_that_of_the_server() -> None:
    wanted = [
        [
            f"`{tool.name}`",
            (tool.definition.description or "").partition(". ")[0].rstrip(".") + ".",
            describe_effect(tool),
        ]
        for tool in TOOLS
    ]
    assert table("tools") == wanted


def test_every_setting_that_is_read_is_told_and_no_other() -> None:
    sources = [inspect.getsource(it) for it in (settings_module, service, logs)]
    read = set(re.findall(r"(?:SNAPSHOT_MCP|HYPERSTACK)_[A-Z_]+", "".join(sources)))
    standard = {settings_module.OTLP_ENDPOINTS[0]}
    assert {name for setting in SETTINGS for name in setting.names} == read | standard


def test_the_table_of_settings_is_that_of_the_code() -> None:
    made = settings_table("docs/").splitlines()[2:]
    assert table("settings") == [[it.strip() for it in row.strip("|").split("|")] for row in made]


async def test_the_reference_is_what_the_code_says() -> None:
    assert (ROOT / "docs/reference.md").read_text(encoding="utf-8") == await reference()


def test_every_page_is_linked_and_every_link_leads_to_a_file() -> None:
    pages = {f"docs/{path.name}" for path in (ROOT / "docs").glob("*.md")}
    assert pages <= set(re.findall(r"\]\(([\w./-]+)\)", README))
    for page in (ROOT / "README.md", *(ROOT / "docs").glob("*.md")):
        for link in re.findall(r"\]\(([\w./-]+)\)", page.read_text(encoding="utf-8")):
            assert (page.parent / link).exists(), f"{page.name}: {link}"


def test_every_picture_is_shown_and_is_made_by_this_project() -> None:
    pictures = {path.stem for path in (ROOT / "docs/pictures").glob("*.svg")}
    shown = set(re.findall(r"docs/pictures/(\w+)\.svg", README))
    assert set(PICTURES) == pictures & set(PICTURES) == shown & set(PICTURES)
    for name in PICTURES:
        picture = (ROOT / f"docs/pictures/{name}.svg").read_text(encoding="utf-8")
        assert "@font-face" not in picture  # nothing is fetched from elsewhere


def test_a_picture_is_what_the_command_prints(tmp_path: Path) -> None:
    picture = drawn("doctor", PICTURES["doctor"], tmp_path)
    assert "versions" in picture
    assert str(tmp_path) not in picture


def test_every_command_that_there_is_is_in_the_readme_and_can_be_parsed() -> None:
    told = [row[0].strip("`").split()[1:] for row in table("commands")]
    parser = build_parser()
    assert {parser.parse_args(words).command for words in told} == {
        None,
        "serve",
        "install",
        "doctor",
        "call",
        "completion",
        "sandbox",
        "demo",
        "ledger",
    }
    commands = re.search(r"\{(.*?)\}|command", parser.format_usage())
    assert commands is not None
    for words in told:
        assert not words or words[0] in parser.format_help()


def test_every_file_that_the_readme_names_is_there() -> None:
    for path in re.findall(r"`((?:server|prompts|tests|docs|bench|packaging)/[\w/.]*)`", README):
        assert (ROOT / path).exists(), path


def test_the_changelog_speaks_of_what_is_unreleased() -> None:
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert "## [Unreleased]" in changelog


def test_every_prompt_file_is_named_in_the_readme() -> None:
    for path in (ROOT / "prompts").glob("*.md"):
        assert f"`{path.stem}`" in README
