"""Commands and options of the command line, read from its parser.

argparse has no public API for this.
"""

import argparse
from collections.abc import Iterator
from typing import Any, NamedTuple

from snapshot_mcp.cli.parser import build_parser


class Option(NamedTuple):
    """One argument or option: its syntax and its meaning."""

    syntax: str
    meaning: str


class Command(NamedTuple):
    """One command: its name, its description, and its options."""

    name: str
    description: str
    options: tuple[Option, ...]


def list_commands() -> Iterator[Command]:
    """Yield the options without a command, then all commands."""
    parser = build_parser()
    yield Command("snapshot-mcp", str(parser.epilog), tuple(_options(parser)))
    for command_parser, text in _command_parsers(parser):
        description = f"{text[:1].upper()}{text[1:]}."
        yield Command(command_parser.prog, description, tuple(_options(command_parser)))


def _actions(parser: argparse.ArgumentParser) -> list[argparse.Action]:
    return parser._actions  # noqa: SLF001 # pyright: ignore[reportPrivateUsage] - no public API


def _command_parsers(
    parser: argparse.ArgumentParser,
) -> Iterator[tuple[argparse.ArgumentParser, str]]:
    for action in _actions(parser):
        subparsers: Any = action.choices
        if isinstance(action.choices, dict):
            with_help: Any = action
            helps = {
                str(subaction.dest): str(subaction.help)
                for subaction in with_help._get_subactions()  # noqa: SLF001 - no public API
            }
            for name, command_parser in subparsers.items():
                yield command_parser, helps[name]


def _options(parser: argparse.ArgumentParser) -> Iterator[Option]:
    for action in _actions(parser):
        if action.dest in {"help", "command"}:
            continue
        names = ", ".join(action.option_strings)
        yield Option(" ".join(filter(None, (names, _value(action)))), _meaning(action))


def _value(action: argparse.Action) -> str:
    if action.nargs == 0:
        return ""
    if action.choices is not None:
        return "{" + ",".join(map(str, action.choices)) + "}"
    metavar = action.metavar if isinstance(action.metavar, str) else None
    name = metavar or (action.dest.upper() if action.option_strings else action.dest)
    return f"{name} ..." if action.nargs == "*" else name


def _meaning(action: argparse.Action) -> str:
    if action.dest == "version":
        return "print the version"
    return action.help or ""
