"""The parser of the command line."""

import argparse
from collections.abc import Sequence
from datetime import datetime
from typing import NoReturn

from snapshot_mcp import __version__
from snapshot_mcp.cli.install.clients import CLIENTS
from snapshot_mcp.settings.environment import CONSENTS

MAX_PORT = 65_535
MAX_COUNT_LENGTH = 9
SHELLS = ("bash", "zsh", "tcsh")
TOOL_OPTION_COMMANDS = (None, "serve", "install")
"""Commands that accept --tools and --read-only."""


class _Parser(argparse.ArgumentParser):
    """A parser whose errors do not contain values, such as a key after a misspelt option."""

    def error(self, message: str) -> NoReturn:
        """Print the message without values, and end the process with exit code 2."""
        kind, separator, words = message.partition("unrecognized arguments: ")
        if separator:
            options = [word.partition("=")[0] for word in words.split() if word[0] == "-"]
            super().error(f"{kind}{separator}{' '.join(options) or '(hidden)'}")
        name, equals, _ = message.partition("=")
        super().error(f"{name}{equals}(hidden)" if equals else message)


def parse(words: Sequence[str]) -> argparse.Namespace:
    """Return the parsed arguments; end the process with exit code 2 if they are wrong."""
    parser = build_parser()
    arguments = parser.parse_args(words)
    tool_options = arguments.__dict__.keys() & {"tools", "read_only"}
    if tool_options and arguments.command not in TOOL_OPTION_COMMANDS:
        parser.error(f"{arguments.command} does not accept --tools and --read-only")
    return arguments


def build_parser() -> argparse.ArgumentParser:
    """Return the parser with all commands."""
    tool_options = _tool_options()
    parser = _Parser(
        parents=[tool_options],
        prog="snapshot-mcp",
        description="Manage the snapshots of cloud VMs from an AI assistant (MCP).",
        epilog="Without a command, serve MCP over stdio; MCP clients start the server this way.",
    )
    parser.add_argument("--version", action="version", version=f"snapshot-mcp {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="command")
    serve = commands.add_parser(
        "serve", parents=[tool_options], help="serve MCP over stdio or Streamable HTTP"
    )
    serve.add_argument(
        "--transport", choices=["stdio", "http"], default="stdio", help="transport (stdio)"
    )
    serve.add_argument("--host", default="127.0.0.1", help="address to listen on (127.0.0.1)")
    serve.add_argument("--port", type=_port, default=8765, help="port of the http transport (8765)")
    _add_install(
        commands.add_parser(
            "install", parents=[tool_options], help="add this server to an MCP client, or remove it"
        )
    )
    doctor = commands.add_parser(
        "doctor", help="check versions, settings, data folder, ledger and cloud"
    )
    doctor.add_argument("--json", action="store_true", help="print one JSON object")
    call = commands.add_parser("call", help="call one tool, as an assistant does")
    call.add_argument("tool", help="name of the tool, such as list_snapshots")
    call.add_argument("values", nargs="*", metavar="key=value", help="arguments of the tool")
    call.add_argument("--json", action="store_true", help="print the structured content as JSON")
    sandbox = commands.add_parser("sandbox", help="serve the embedded cloud's REST API")
    sandbox.add_argument("--port", type=_port, default=8080, help="port to listen on (8080)")
    sandbox.add_argument(
        "--credit", type=float, metavar="DOLLARS", help="set the credit of the account"
    )
    sandbox.add_argument(
        "--misbehave",
        default="",
        metavar="OPTIONS",
        help="fail on purpose, such as stale-reads=5,error-500=0.1 (see docs/embedded-cloud.md)",
    )
    demo = commands.add_parser("demo", help="show the main tools on a new embedded cloud")
    demo.add_argument(
        "--retention", action="store_true", help="show a clean-up by retention rules instead"
    )
    _add_ledger(commands.add_parser("ledger", help="show the recorded attempts, or verify them"))
    completion = commands.add_parser("completion", help="print a completion script for a shell")
    completion.add_argument("shell", choices=SHELLS, help="the shell")
    return parser


def _tool_options() -> _Parser:
    # No defaults: those of a command would override an option that is given before the command.
    options = _Parser(add_help=False, argument_default=argparse.SUPPRESS)
    options.add_argument("--tools", metavar="NAMES", help="only these toolsets (comma-separated)")
    options.add_argument("--read-only", action="store_true", help="only tools that change nothing")
    return options


def _add_install(install: argparse.ArgumentParser) -> None:
    install.add_argument(
        "client", choices=tuple(CLIENTS), help="client whose configuration to change"
    )
    install.add_argument(
        "--project", action="store_true", help="change the current project's file, not yours"
    )
    install.add_argument("--name", default="snapshots", help="name of the entry (snapshots)")
    install.add_argument(
        "--env",
        action="append",
        default=[],
        metavar="NAME[=VALUE]",
        help="setting: NAME refers to the client's environment, or its value is asked for;"
        " NAME=VALUE is stored in clear text",
    )
    install.add_argument("--consent", choices=CONSENTS, help="evidence that a delete needs")
    install.add_argument("--dry-run", action="store_true", help="only print the difference")
    install.add_argument("--uninstall", action="store_true", help="remove the entry")


def _add_ledger(ledger: argparse.ArgumentParser) -> None:
    actions = ("show", "verify", "acknowledge")
    ledger.add_argument("action", nargs="?", choices=actions, default="show", help="action (show)")
    ledger.add_argument("--tool", default="", help="only this tool")
    ledger.add_argument("--event", default="", help="only this event, such as sent or refused")
    ledger.add_argument("--since", type=_time, help="only since this date or time (UTC)")
    ledger.add_argument(
        "--limit", type=_count, default=50, help="number of newest rows to print (50); 0: all"
    )
    ledger.add_argument("--json", action="store_true", help="print one JSON object per line")


def _port(text: str) -> int:
    if not (text.isascii() and text.isdigit() and int(text) <= MAX_PORT):
        raise argparse.ArgumentTypeError(f"must be a number between 0 and {MAX_PORT}")
    return int(text)


def _time(text: str) -> datetime:
    from snapshot_mcp.core.clock import parse_utc  # noqa: PLC0415 - loaded on demand

    try:
        return parse_utc(text)
    except ValueError:
        raise argparse.ArgumentTypeError("must be a date or time such as 2026-05-31") from None


def _count(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= MAX_COUNT_LENGTH):
        raise argparse.ArgumentTypeError("must be a whole number")
    return int(text)
