"""Prompts: files in `prompts/`, checked at start.

A file begins with TOML between two lines of `+++`: `title`, `description`, `needs` (the tools that
the text names; without one of them the prompt is not offered), and its `arguments`, each with
`name`, `description` and, where it may be left out, `default`; `completes` says what is offered to
a person who types it. Below stands the text, in which `${name}` is replaced by the argument.
"""

import re
import string
import tomllib
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

from mcp.server.mcpserver.context import Context
from mcp.server.mcpserver.prompts import Prompt
from mcp.server.mcpserver.prompts.base import Message, PromptArgument, UserMessage
from mcp.shared.exceptions import MCPError
from mcp_types import INVALID_PARAMS
from pydantic import ConfigDict, Field, ValidationError

from snapshot_mcp.core.errors import ConfigurationError
from snapshot_mcp.core.sanitize import quoted, sanitize
from snapshot_mcp.models.cloud import FrozenModel
from snapshot_mcp.operations.requests import SuggestionKind

_FENCE = "+++"
_ARGUMENT_HEAD = "[[arguments]]"
_LINE_IN_ERROR = re.compile(r"at line (\d+)")
_MAX_ARGUMENT_LENGTH = 200


class _Argument(FrozenModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    name: str = Field(pattern=r"^[a-z][a-z_]*$")
    description: str = Field(min_length=1)
    default: str | None = None
    completes: SuggestionKind | None = None


class _FrontMatter(FrozenModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    title: str = Field(min_length=1)
    description: str = Field(min_length=1)
    needs: tuple[Annotated[str, Field(pattern=r"^[a-z][a-z_]*$")], ...] = ()
    arguments: tuple[_Argument, ...] = ()


class FilePrompt(Prompt):
    """A prompt whose arguments are checked with sentences that reach the person."""

    compose: Callable[[Mapping[str, str]], str] = Field(exclude=True)
    needs: frozenset[str] = Field(exclude=True)
    completes: Mapping[str, SuggestionKind] = Field(exclude=True)

    async def render(
        self, arguments: dict[str, Any] | None, context: Context[Any, Any]
    ) -> list[Message]:
        """The one message of the prompt.

        Raises:
            MCPError: an argument is missing or unknown.
        """
        del context
        given = arguments or {}
        known = {argument.name: argument for argument in self.arguments or []}
        for name in given:
            if name not in known:
                raise _invalid(f"There is no argument {quoted(sanitize(name).text)}.")
        for name, argument in known.items():
            if argument.required and not sanitize(str(given.get(name, ""))).text:
                raise _invalid(f"The argument {quoted(name)} is missing.")
        messages: list[Message] = [
            UserMessage(self.compose({name: str(value) for name, value in given.items()}))
        ]
        return messages


def prompt_folder() -> Path:
    """Where the prompt files are: in the package when installed, in the tree when editable."""
    installed = Path(__file__).parents[1] / "prompt_files"
    return installed if installed.is_dir() else Path(__file__).parents[3] / "prompts"


def load_prompts(
    folder: Path | None = None, *, tools: Collection[str] | None = None
) -> list[FilePrompt]:
    """The prompts of `folder`, by name.

    Args:
        folder: where the files are; our own by default.
        tools: the tools that there are; a prompt that needs another is left out. None for all.

    Raises:
        ConfigError: a file is not valid; the sentence names the file and the line.
    """
    folder = folder or prompt_folder()
    prompts = [load_prompt(path) for path in sorted(folder.glob("*.md"))]
    return prompts if tools is None else [it for it in prompts if it.needs.issubset(tools)]


def load_prompt(path: Path) -> FilePrompt:
    """The prompt of one file. Errors as in `load_prompts`."""
    try:
        lines = path.read_text(encoding="utf-8").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(
            f"{path.name}: it cannot be read ({type(error).__name__})."
        ) from error
    if not lines or lines[0] != _FENCE or _FENCE not in lines[1:]:
        raise ConfigurationError(
            f"{path.name}:1: a prompt file begins with TOML between two lines of +++."
        )
    end = lines.index(_FENCE, 1)
    matter = _front_matter(path, lines[1:end])
    _check_placeholders(path, matter, lines, first=end + 1)
    template = string.Template("\n".join(lines[end + 1 :]).strip() + "\n")

    def compose(given: Mapping[str, str]) -> str:
        values = {argument.name: argument.default or "" for argument in matter.arguments}
        values |= {name: value for name, value in given.items() if sanitize(value).text}
        return template.substitute({name: _quoted(value) for name, value in values.items()})

    return FilePrompt(
        name=path.stem,
        title=matter.title,
        description=matter.description,
        arguments=[
            PromptArgument(
                name=argument.name,
                description=argument.description,
                required=argument.default is None,
            )
            for argument in matter.arguments
        ],
        fn=compose,
        compose=compose,
        needs=frozenset(matter.needs),
        completes={it.name: it.completes for it in matter.arguments if it.completes},
        context_kwarg=None,
    )


def _front_matter(path: Path, lines: list[str]) -> _FrontMatter:
    try:
        # The empty line stands for the fence, so that the parser counts as an editor does.
        return _FrontMatter.model_validate(tomllib.loads("\n".join(["", *lines])))
    except tomllib.TOMLDecodeError as error:
        where = _LINE_IN_ERROR.search(str(error))
        line = int(where.group(1)) if where else len(lines) + 1
        raise ConfigurationError(
            f"{path.name}:{line}: the front matter is not TOML: {error}."
        ) from error
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        field = ".".join(str(part) for part in first["loc"])
        line = _line_of(first["loc"], lines)
        raise ConfigurationError(f"{path.name}:{line}: {field}: {first['msg']}.") from error


def _line_of(place: Sequence[int | str], lines: list[str]) -> int:
    """The line of a mistake: its key, in the argument that it is in; else where that begins."""
    numbered = list(enumerate(lines, start=2))
    wanted = next(part for part in reversed(place) if isinstance(part, str))
    begins = 1
    if len(place) > 1 and isinstance(place[1], int) and place[0] == "arguments":
        heads = [number for number, line in numbered if line.strip() == _ARGUMENT_HEAD]
        begins = heads[place[1]] if place[1] < len(heads) else 1
    for number, line in numbered:
        key, equals, _ = line.partition("=")
        if number > begins and equals and key.strip() == wanted:
            return number
        if number > begins and line.strip() == _ARGUMENT_HEAD:
            break
    return begins


def _check_placeholders(path: Path, matter: _FrontMatter, lines: list[str], *, first: int) -> None:
    named = {argument.name for argument in matter.arguments}
    for number, line in enumerate(lines[first:], start=first + 1):
        for wrong in _wrong_placeholders(line, named):
            raise ConfigurationError(
                f"{path.name}:{number}: {wrong} names no argument of this prompt."
            )


def _wrong_placeholders(line: str, named: set[str]) -> Iterator[str]:
    template = string.Template(line)
    if template.is_valid():
        yield from ("${" + name + "}" for name in template.get_identifiers() if name not in named)
    else:
        yield "a lone $"


def _quoted(value: str) -> str:
    return quoted(sanitize(value, _MAX_ARGUMENT_LENGTH).text)


def _invalid(sentence: str) -> MCPError:
    return MCPError(INVALID_PARAMS, sentence)
