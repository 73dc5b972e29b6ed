"""The command line as its parser knows it; argparse has no public way to ask."""

import argparse
from collections.abc import Iterator
from typing import Any, NamedTuple

from snapshot_mcp.cli.parser import build_parser


class Option(NamedTuple):
    """One argument or option, as it is written, and what it means."""

    written: str
    means: str


class Command(NamedTuple):
    """One command, as it is begun, what it does, and what it takes."""

    usage: str
    does: str
    options: tuple[Option, ...]


def commands() -> Iterator[Command]:
    """The command without a name, and all that have one."""
    parser = build_parser()
    yield Command("snapshot-mcp", str(parser.epilog), tuple(_options(parser)))
    for choice, does in _choices(parser):
        yield Command(choice.prog, f"{does[:1].upper()}{does[1:]}.", tuple(_options(choice)))


def _actions(parser: argparse.ArgumentParser) -> list[argparse.Action]:
    return parser._actions  # noqa: SLF001 # pyright: ignore[reportPrivateUsage] - there is no other way


def _choices(parser: argparse.ArgumentParser) -> Iterator[tuple[argparse.ArgumentParser, str]]:
    for action in _actions(parser):
        subparsers: Any = action.choices
        if isinstance(action.choices, dict):
            helps: Any = {it.dest: it.help for it in action._get_subactions()}  # type: ignore[attr-defined]  # noqa: SLF001
            for name, choice in subparsers.items():
                yield choice, str(helps[name])


def _options(parser: argparse.ArgumentParser) -> Iterator[Option]:
    for action in _actions(parser):
        if action.dest in {"help", "command"}:
            continue
        names = ", ".join(action.option_strings)
        yield Option(" ".join(filter(None, (names, _value(action)))), _means(action))


def _value(action: argparse.Action) -> str:
    if action.nargs == 0:
        return ""
    if action.choices is not None:
        return "{" + ",".join(map(str, action.choices)) + "}"
    metavar = action.metavar if isinstance(action.metavar, str) else None
    name = metavar or (action.dest.upper() if action.option_strings else action.dest)
    return f"{name} ..." if action.nargs == "*" else name


def _means(action: argparse.Action) -> str:
    if action.dest == "version":
        return "the version"
    return action.help or ""
