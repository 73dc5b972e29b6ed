"""Texts are plain English, names follow the conventions, and the layout stays flat.

The terms that replace the rejected words are in the glossary of docs/architecture.md.
"""

import ast
import importlib
import re
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "server/snapshot_mcp"
TEXT_FOLDERS = ("server", "docs", "prompts", "packaging", ".github")
TEXT_SUFFIXES = {".py", ".ts", ".css", ".html", ".json", ".md", ".toml", ".yml", ".yaml"}
CODE_FOLDERS = ("server", "bench", "tests", "docs", "packaging")
GENERATED = {PACKAGE / "mcp_server/panel/panel.html"}
MAX_LAYERS = 12

REJECTED = (
    "all the same",
    "anew",
    "at once",
    "be had",
    "bent on",
    "came of",
    "comes to",
    "goes by",
    "in the midst",
    "judge",
    "looked at",
    "looks after",
    "mend",
    "nobody",
    "of use to",
    "practice cloud",
    "says of",
    "seen from outside",
    "snapshot whole",
    "so many",
    "somebody",
    "stands",
    "tells",
    "the like",
    "told",
    "watched for",
    "way in",
    "way out",
    "weather",
    "whatever",
    "who lives",
    "whoever",
    "whose turn",
    "witness",
)
"""Words and phrases that a reader has to decode. A plainer one exists for each."""

_PHRASES = "|".join(REJECTED).replace(" ", r"[\s#]+")  # a comment may break within a phrase
_REJECTED = re.compile(rf"(?<![a-z])(?:{_PHRASES})(?![a-z])", re.IGNORECASE)
_OPENING = re.compile(r"(?:What|Who|Whose|Which|Where|How|When|So)\b", re.IGNORECASE)

FORMER_MODULES = {
    "server": (
        "allowance alone asking ask batch bearer calling caller changing choosing circuit envelopes"
        " guard happenings holding listening living obeying observing opening orders owners pages"
        " parts picturing reading recent records refusal refusals replies rows scoped sending"
        " serving settings_told settlement settling shapes traffic turns untrusted values verifying"
        " waiting wire"
    ),
    "tests": "choosing door judge weather witness",
    "bench": "bare ours peer rows",
}


class Finding(NamedTuple):
    """A rejected word in a file.

    Attributes:
        path: the file, relative to the root.
        line: the line number.
        words: the words found.
    """

    path: str
    line: int
    words: str


def files(folders: Iterable[str], suffixes: Iterable[str]) -> Iterator[Path]:
    """Return the files of this project in these folders, without installed and generated ones."""
    for folder in folders:
        for path in sorted((ROOT / folder).rglob("*")):
            if path.suffix in suffixes and "node_modules" not in path.parts:
                yield path


def texts() -> list[Path]:
    """Return all files that people or models read."""
    found = {*files(TEXT_FOLDERS, TEXT_SUFFIXES), *ROOT.glob("*.md")} - GENERATED
    return sorted(found)


def rejected_words(text: str) -> Iterator[tuple[int, str]]:
    """Return the line numbers and the rejected words of a text."""
    for match in _REJECTED.finditer(text):
        yield text.count("\n", 0, match.start()) + 1, match[0]


def is_docstring_opening_rejected(docstring: str) -> bool:
    """Return whether a docstring begins with a question word."""
    return _OPENING.match(docstring.strip()) is not None


@cache
def syntax_nodes() -> list[tuple[Path, list[ast.AST]]]:
    """Return the nodes of each Python file."""
    return [
        (path, list(ast.walk(ast.parse(path.read_text(encoding="utf-8")))))
        for path in files(CODE_FOLDERS, {".py"})
    ]


def docstrings(nodes: Iterable[ast.AST]) -> Iterator[tuple[int, str]]:
    """Return the docstrings of a module, its classes and its functions, with line numbers."""
    for node in nodes:
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            docstring = ast.get_docstring(node)
            if docstring:
                yield getattr(node, "lineno", 1), docstring


def names_called_it(nodes: Iterable[ast.AST]) -> Iterator[int]:
    """Return the lines that bind the name `it`: loops, comprehensions, parameters, assignments."""
    for node in nodes:
        if isinstance(node, ast.arg) and node.arg == "it":
            yield node.lineno
        if isinstance(node, ast.Name) and node.id == "it" and isinstance(node.ctx, ast.Store):
            yield node.lineno


@pytest.mark.parametrize(
    "sentence",
    [
        "an assistant that is bent on it can give both",
        "What others do is not watched for.",
        "A cloud that is down is told at once, and since when.",
        "what replicas share: the ledger, who lives, whose turn it is",
        "Who comes in: nothing but what is open to all is answered to anybody who is not known.",
        "Nobody is known to ask this.",
        "The policy is empty: it says of nothing that it is kept.",
        "Show one snapshot whole, and what follows from it.",
        "Only now: a used plan must not be told to be merely old, for then it may have happened.",
        "Mend it, and try again.",
        "## Seen from outside",
        "# what is of\n# use to nobody",
        "_told = 1",
    ],
)
def test_sentences_of_the_former_style_are_found(sentence: str) -> None:
    assert list(rejected_words(sentence)) or is_docstring_opening_rejected(sentence)


@pytest.mark.parametrize(
    "sentence",
    [
        "A confused or malicious assistant can supply both.",
        "Changes made outside this server are not reported.",
        "If the cloud is down, calls fail fast and say since when.",
        "State shared by replicas: ledger, liveness, change lock, rate limit",
        "Fix the file and try again.",
        "We recommend `snapshot-mcp doctor`.",
    ],
)
def test_plain_sentences_pass(sentence: str) -> None:
    assert not list(rejected_words(sentence))
    assert not is_docstring_opening_rejected(sentence)


def test_no_text_contains_a_rejected_word() -> None:
    findings = [
        Finding(str(path.relative_to(ROOT)), line, words)
        for path in texts()
        for line, words in rejected_words(path.read_text(encoding="utf-8"))
    ]
    assert findings == []


def test_no_variable_or_parameter_is_called_it() -> None:
    found = [
        f"{path.relative_to(ROOT)}:{line}"
        for path, nodes in syntax_nodes()
        for line in names_called_it(nodes)
    ]
    assert found == []


def test_docstrings_do_not_begin_with_a_question_word() -> None:
    found = [
        f"{path.relative_to(ROOT)}:{line}: {docstring.splitlines()[0]}"
        for path, nodes in syntax_nodes()
        for line, docstring in docstrings(nodes)
        if is_docstring_opening_rejected(docstring)
    ]
    assert found == []


@pytest.mark.parametrize("folder", FORMER_MODULES)
def test_no_module_has_a_former_name(folder: str) -> None:
    former = set(FORMER_MODULES[folder].split())
    found = [
        str(path.relative_to(ROOT))
        for path in files([folder], {".py"})
        if path.stem in former or path.parent.name in former
    ]
    if folder == "server":
        found += [str(path) for path in [PACKAGE / "cloud/http.py"] if path.exists()]
    assert found == []


def test_every_module_is_in_a_package_below_the_root_package() -> None:
    assert {path.stem for path in PACKAGE.glob("*.py")} == {"__init__", "__main__"}


def test_the_import_rules_have_at_most_12_layers() -> None:
    tomllib: Any = importlib.import_module("tomllib")
    rules: Any = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    contract = rules["tool"]["importlinter"]["contracts"][0]
    assert contract["type"] == "layers"
    assert len(contract["layers"]) <= MAX_LAYERS
