"""README, docs/ and the community files describe the code as it is."""

import base64
import importlib
import inspect
import json
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from docs.generators import readme
from docs.generators.commands import list_commands
from docs.generators.pictures import PICTURES, draw
from docs.generators.reference import reference
from snapshot_mcp.cli.parser import build_parser
from snapshot_mcp.mcp_server.prompt_files import load_prompts
from snapshot_mcp.mcp_server.tools.toolsets import TOOLS
from snapshot_mcp.settings import environment as settings_module
from snapshot_mcp.settings.reference import SETTINGS
from snapshot_mcp.telemetry import logs
from snapshot_mcp.transports.http import settings as http_settings

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
ARCHITECTURE = (ROOT / "docs/architecture.md").read_text(encoding="utf-8")
PAGES = [
    *sorted(ROOT.glob("*.md")),
    *sorted((ROOT / "docs").rglob("*.md")),
    ROOT / ".github/pull_request_template.md",
]
COMMANDS = [command.name.split()[-1] for command in list_commands()]
MAKE_TARGETS = re.findall(
    r"^([\w-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE
)
MAX_README_LINES = 200
MAX_RECORD_LINES = 60
_LINK = re.compile(r"\]\(([^)\s]+)\)")
_PATH = re.compile(r"`((?:server|prompts|tests|docs|bench|packaging)/[\w/.-]*)`")


def page_id(page: Path) -> str:
    return str(page.relative_to(ROOT))


def part(name: str) -> str:
    """Return the generated part of the README between the markers of that name."""
    marked = re.search(rf"<!-- {name} -->\n(.*?)<!-- /{name} -->", README, re.DOTALL)
    assert marked is not None, name
    return marked[1]


def anchors(page: Path) -> set[str]:
    """Return the anchors of the headings of a page, as GitHub makes them."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def shell_commands(text: str) -> Iterator[str]:
    """Return the lines of the console and shell blocks that are commands."""
    for language, block in re.findall(r"```(console|sh)\n(.*?)```", text, re.DOTALL):
        for line in block.splitlines():
            if language == "sh" or line.startswith("$ "):
                yield line.removeprefix("$ ")


def test_the_readme_has_at_most_200_lines() -> None:
    assert len(README.splitlines()) <= MAX_README_LINES


def test_the_readme_lists_the_tools_that_the_server_lists() -> None:
    assert part("tools") == readme.tools_table()
    assert re.findall(r"^\| `(\w+)` \|", part("tools"), re.MULTILINE) == [
        tool.name for tool in TOOLS
    ]


def test_the_readme_describes_the_main_settings_as_the_reference_does() -> None:
    assert part("settings") == readme.main_settings_table()
    for name in readme.MAIN_SETTINGS:
        assert f"`{name}`" in part("settings")


async def test_the_example_conversation_is_what_the_server_and_the_client_show() -> None:
    current = f"```text\n{await readme.conversation()}```\n"
    assert readme.mask_volatile(part("conversation")) == readme.mask_volatile(current)


def test_the_json_block_for_clients_starts_this_server() -> None:
    block = re.search(r"```json\n(.*?)```", README, re.DOTALL)
    assert block is not None
    entry: dict[str, Any] = json.loads(block[1])["mcpServers"]["snapshots"]
    assert entry["command"] == "uvx"
    source, path, program = entry["args"]
    assert (source, program) == ("--from", "snapshot-mcp")
    assert Path(path).is_absolute()
    assert set(entry["env"]) <= {name for setting in SETTINGS for name in setting.names}


def test_the_install_buttons_run_the_published_package() -> None:
    configs: dict[str, str] = {}
    for link in re.findall(r"\]\((https://[^)]*config=[^)]*)\)", README):
        address = urlsplit(str(link))
        query = parse_qs(address.query)
        assert query["name"] == ["snapshots"]
        configs[str(address.hostname)] = query["config"][0]
    assert configs.keys() == {"cursor.com", "vscode.dev"}
    configs["cursor.com"] = base64.b64decode(configs["cursor.com"]).decode()
    for config in configs.values():
        assert json.loads(config) == {"command": "uvx", "args": ["snapshot-mcp"]}


def test_every_setting_that_the_code_reads_is_documented_and_no_other() -> None:
    modules = (settings_module, http_settings, logs)
    source = "".join(inspect.getsource(module) for module in modules)
    read = set(re.findall(r"(?:SNAPSHOT_MCP|HYPERSTACK)_[A-Z_]+", source))
    standard = {settings_module.OTLP_ENDPOINTS[0]}
    assert {name for setting in SETTINGS for name in setting.names} == read | standard


async def test_the_reference_is_what_the_code_generates() -> None:
    assert (ROOT / "docs/reference.md").read_text(encoding="utf-8") == await reference()


@pytest.mark.parametrize("page", PAGES, ids=page_id)
def test_every_link_leads_to_a_file_and_a_heading(page: Path) -> None:
    for link in _LINK.findall(page.read_text(encoding="utf-8")):
        if "://" in link:
            continue
        name, _, anchor = link.partition("#")
        target = page.parent / name if name else page
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link


@pytest.mark.parametrize("page", [page for page in PAGES if page.stem != "CHANGELOG"], ids=page_id)
def test_every_file_that_a_page_names_exists(page: Path) -> None:
    for path in _PATH.findall(page.read_text(encoding="utf-8")):
        assert (ROOT / path).exists(), path


def test_every_module_that_the_architecture_names_exists() -> None:
    modules = re.findall(r"`(?!server/)([\w/]+\.py)`", ARCHITECTURE)
    assert modules
    for module in modules:
        assert (ROOT / "server/snapshot_mcp" / module).exists(), module


def test_the_steps_of_a_write_name_classes_and_functions_of_their_files() -> None:
    steps = re.findall(r"^\| \d+ \| (.*) \| (.*) \|$", ARCHITECTURE, re.MULTILINE)
    assert len(steps) > 1
    for files, text in steps:
        paths = [ROOT / "server/snapshot_mcp" / path for path in re.findall(r"`(.*?)`", files)]
        source = "".join(path.read_text(encoding="utf-8") for path in paths)
        for name in re.findall(r"`(\w+)`", text):
            assert re.search(rf"\b{name}\b", source), (files, name)


@pytest.mark.parametrize("page", PAGES, ids=page_id)
def test_every_command_of_a_page_exists(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    for command in shell_commands(text):
        words = shlex.split(command.rstrip(" &"), comments=True)
        if words[:1] == ["snapshot-mcp"]:
            build_parser().parse_args(words[1:])
        elif words[:1] == ["make"]:
            assert words[1] in MAKE_TARGETS, command
    for command in re.findall(r"`snapshot-mcp ([a-z]\w*)", text):
        assert command in COMMANDS, command
    for target in re.findall(r"`make ([a-z][\w-]*)", text):
        assert target in MAKE_TARGETS, target


def test_the_readme_links_every_page() -> None:
    pages = {f"docs/{path.name}" for path in (ROOT / "docs").glob("*.md")}
    assert pages <= set(_LINK.findall(README))


def test_the_page_of_prompts_and_resources_lists_all_of_them() -> None:
    text = (ROOT / "docs/prompts-and-resources.md").read_text(encoding="utf-8")
    listed = re.findall(r"^\| `([^`]+)` \|", text, re.MULTILINE)
    resources = re.findall(r"^\| `(\w+://[^`]+)` \|", reference_page(), re.MULTILINE)
    assert sorted(listed) == sorted([prompt.name for prompt in load_prompts()] + resources)


def reference_page() -> str:
    return (ROOT / "docs/reference.md").read_text(encoding="utf-8")


def test_every_picture_is_shown_and_loads_nothing() -> None:
    text = "".join(page.read_text(encoding="utf-8") for page in PAGES)
    for picture in (ROOT / "docs/pictures").iterdir():
        assert f"pictures/{picture.name})" in text
        assert picture.suffix == ".png" or picture.stem in PICTURES
    for name in PICTURES:
        drawing = (ROOT / f"docs/pictures/{name}.svg").read_text(encoding="utf-8")
        assert "@font-face" not in drawing


def test_a_picture_is_what_the_command_prints(tmp_path: Path) -> None:
    picture = draw("doctor", PICTURES["doctor"], tmp_path)
    assert "versions" in picture
    assert str(tmp_path) not in picture


def test_the_architecture_lists_the_layers_that_the_import_rules_check() -> None:
    tomllib = importlib.import_module("tomllib")
    rules: Any = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    layers = rules["tool"]["importlinter"]["contracts"][0]["layers"]
    rows = re.findall(r"^\| (`[^|]*) \|", ARCHITECTURE, re.MULTILINE)
    assert [" | ".join(re.findall(r"`(\w+)/?`", row)) for row in rows] == layers


def test_the_index_of_decisions_lists_every_record_and_each_is_short() -> None:
    folder = ROOT / "docs/adr"
    records = sorted(path.name for path in folder.glob("0*.md"))
    index = (folder / "README.md").read_text(encoding="utf-8")
    assert _LINK.findall(index) == records
    for name in records:
        text = (folder / name).read_text(encoding="utf-8")
        assert text.startswith(f"# {name[:4]}: ")
        assert len(text.splitlines()) < MAX_RECORD_LINES


def test_the_forms_and_the_workflow_are_valid_yaml() -> None:
    yaml: Any = importlib.import_module("yaml")  # it has no types
    for path in (ROOT / ".github/ISSUE_TEMPLATE").iterdir():
        form = yaml.safe_load(path.read_text(encoding="utf-8"))
        fields = [field for field in form.get("body", []) if field["type"] != "markdown"]
        assert all({"id", "attributes"} <= field.keys() for field in fields)
        assert len({field["id"] for field in fields}) == len(fields)
    workflow = yaml.safe_load((ROOT / ".github/workflows/ci.yml").read_text(encoding="utf-8"))
    steps = [step.get("run") for job in workflow["jobs"].values() for step in job["steps"]]
    assert ".ci/run" in steps
    assert "make test" in steps


def test_the_changelog_has_a_section_for_unreleased_changes() -> None:
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert "## [Unreleased]" in changelog
