"""Prompt files: Markdown with a front matter, checked when the server starts.

A file begins with TOML between two lines of `+++`:

- `title` and `description`.
- `needs`: the tools that the text names. The server lists the prompt only with all of them.
- `arguments`: each has a `name`, a `description`, a `default` if it is optional, and `completes`
  if the server can suggest values for it.

The text follows. `${name}` in it is replaced with the quoted value of the argument.
"""

import re
import string
import tomllib
from collections.abc import Collection, Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Annotated, NamedTuple

from pydantic import ConfigDict, Field, ValidationError

from snapshot_mcp.core.errors import ConfigurationError, SnapshotMcpError
from snapshot_mcp.core.sanitize import MAX_NAME_LENGTH, quoted, sanitize
from snapshot_mcp.core.validation import UNKNOWN_FIELD, describe_error
from snapshot_mcp.models.cloud import FrozenModel
from snapshot_mcp.operations.requests import SuggestionKind

_FENCE = "+++"
_ARGUMENT_HEADER = "[[arguments]]"
_LINE_IN_ERROR = re.compile(r"at line (\d+)")
_MAX_VALUE_LENGTH = 200
_NAME_PATTERN = r"^[a-z][a-z_]*$"


class PromptArgumentError(SnapshotMcpError):
    """An argument of a prompt is missing or unknown."""


class PromptFileArgument(FrozenModel):
    """One argument of a prompt, as its file declares it."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    name: str = Field(pattern=_NAME_PATTERN)
    description: str = Field(min_length=1)
    default: str | None = None
    completes: SuggestionKind | None = None


class _FrontMatter(FrozenModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    title: str = Field(min_length=1)
    description: str = Field(min_length=1)
    needs: tuple[Annotated[str, Field(pattern=_NAME_PATTERN)], ...] = ()
    arguments: tuple[PromptFileArgument, ...] = ()


class PromptFile(NamedTuple):
    """One prompt.

    Attributes:
        name: name of the file without its suffix.
        title: title for people.
        description: what the prompt is for.
        arguments: its arguments.
        needs: names of the tools that its text names.
        template: its text.
    """

    name: str
    title: str
    description: str
    arguments: tuple[PromptFileArgument, ...]
    needs: frozenset[str]
    template: string.Template

    @property
    def completes(self) -> dict[str, SuggestionKind]:
        """The kind of suggestions for each argument that has any."""
        return {
            argument.name: argument.completes for argument in self.arguments if argument.completes
        }

    def render(self, values: Mapping[str, str]) -> str:
        """Return the text with these values, and the defaults of those that are blank.

        Raises:
            PromptArgumentError: a value is missing or has an unknown name.
        """
        known = {argument.name: argument for argument in self.arguments}
        for name in values:
            if name not in known:
                shown = quoted(sanitize(name, MAX_NAME_LENGTH).text)
                raise PromptArgumentError(f"There is no argument {shown}.")
        filled = dict[str, str]()
        for name, argument in known.items():
            value = values.get(name, "")
            if not sanitize(value).text:
                if argument.default is None:
                    raise PromptArgumentError(f"The argument {quoted(name)} is missing.")
                value = argument.default
            filled[name] = quoted(sanitize(value, _MAX_VALUE_LENGTH).text)
        return self.template.substitute(filled)


def prompt_folder() -> Path:
    """Return the folder of the prompt files, in the installed package or in the source tree."""
    installed = Path(__file__).parents[1] / "prompt_files"
    return installed if installed.is_dir() else Path(__file__).parents[3] / "prompts"


def load_prompts(
    folder: Path | None = None, *, tools: Collection[str] | None = None
) -> list[PromptFile]:
    """Return the prompts in `folder`, sorted by name.

    Args:
        folder: folder of the files; by default the server's own.
        tools: names of the listed tools; a prompt that needs another one is left out. None for all.

    Raises:
        ConfigurationError: a file is not valid; the message names the file and the line.
    """
    prompts = _load_folder(folder) if folder else _own_prompts()
    return [prompt for prompt in prompts if tools is None or prompt.needs <= set(tools)]


@cache
def _own_prompts() -> Sequence[PromptFile]:
    return _load_folder(prompt_folder())


def _load_folder(folder: Path) -> Sequence[PromptFile]:
    return [load_prompt(path) for path in sorted(folder.glob("*.md"))]


def load_prompt(path: Path) -> PromptFile:
    """Return the prompt in one file. Raises as `load_prompts` does."""
    try:
        lines = path.read_text(encoding="utf-8").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(
            f"{path.name}: the file cannot be read ({type(error).__name__})."
        ) from error
    if not lines or lines[0] != _FENCE or _FENCE not in lines[1:]:
        raise ConfigurationError(
            f"{path.name}:1: a prompt file must begin with TOML between two lines of +++."
        )
    end = lines.index(_FENCE, 1)
    front_matter = _parse_front_matter(path, lines[1:end])
    _check_placeholders(path, front_matter, lines, first=end + 1)
    return PromptFile(
        name=path.stem,
        title=front_matter.title,
        description=front_matter.description,
        arguments=front_matter.arguments,
        needs=frozenset(front_matter.needs),
        template=string.Template("\n".join(lines[end + 1 :]).strip() + "\n"),
    )


def _parse_front_matter(path: Path, lines: list[str]) -> _FrontMatter:
    try:
        # The empty line replaces the fence, so that the parser counts lines as an editor does.
        return _FrontMatter.model_validate(tomllib.loads("\n".join(["", *lines])))
    except tomllib.TOMLDecodeError as error:
        match = _LINE_IN_ERROR.search(str(error))
        line = int(match.group(1)) if match else len(lines) + 1
        raise ConfigurationError(
            f"{path.name}:{line}: the front matter is not TOML: {error}."
        ) from error
    except ValidationError as error:
        details = error.errors(include_url=False, include_input=False)[0]
        field = ".".join(str(part) for part in details["loc"])
        line = _line_of(details["loc"], lines)
        unknown = details["type"] == UNKNOWN_FIELD
        complaint = "is not a known field" if unknown else describe_error(details)
        raise ConfigurationError(f"{path.name}:{line}: {field} {complaint}.") from error


def _line_of(location: Sequence[int | str], lines: list[str]) -> int:
    """Return the line of the wrong key, or of the header of its argument if the key is missing."""
    numbered = list(enumerate(lines, start=2))
    wrong_key = next(part for part in reversed(location) if isinstance(part, str))
    start = 1
    if len(location) > 1 and isinstance(location[1], int) and location[0] == "arguments":
        headers = [number for number, line in numbered if line.strip() == _ARGUMENT_HEADER]
        start = headers[location[1]] if location[1] < len(headers) else 1
    for number, line in numbered:
        key, equals, _ = line.partition("=")
        if number > start and equals and key.strip() == wrong_key:
            return number
        if number > start and line.strip() == _ARGUMENT_HEADER:
            break
    return start


def _check_placeholders(
    path: Path, front_matter: _FrontMatter, lines: list[str], *, first: int
) -> None:
    names = {argument.name for argument in front_matter.arguments}
    for number, line in enumerate(lines[first:], start=first + 1):
        for wrong in _wrong_placeholders(line, names):
            raise ConfigurationError(
                f"{path.name}:{number}: {wrong} is not an argument of this prompt."
            )


def _wrong_placeholders(line: str, names: set[str]) -> Iterator[str]:
    template = string.Template(line)
    if template.is_valid():
        yield from ("${" + name + "}" for name in template.get_identifiers() if name not in names)
    else:
        yield "a single $"
