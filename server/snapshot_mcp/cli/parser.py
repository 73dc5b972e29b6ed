"""What the command line takes."""

import argparse
from collections.abc import Sequence
from datetime import datetime

from snapshot_mcp import __version__
from snapshot_mcp.cli.install.clients import CLIENTS
from snapshot_mcp.settings.environment import CONSENTS

MAX_PORT = 65_535
MAX_COUNT_LENGTH = 9
SHELLS = ("bash", "zsh", "tcsh")
SERVING = (None, "serve", "install")
"""The commands that --tools and --read-only are for."""


def parse(words: Sequence[str]) -> argparse.Namespace:
    """The arguments of a command; the process ends with exit code 2 where they are wrong."""
    parser = build_parser()
    arguments = parser.parse_args(words)
    told = arguments.__dict__.keys() & {"tools", "read_only"}
    if told and arguments.command not in SERVING:
        parser.error(f"--tools and --read-only are not for {arguments.command}")
    return arguments


def build_parser() -> argparse.ArgumentParser:
    """What the command line takes."""
    which = _which_tools()
    parser = argparse.ArgumentParser(
        parents=[which],
        prog="snapshot-mcp",
        description="Looks after the snapshots of cloud machines, for AI assistants (MCP).",
        epilog="Without a command it serves over stdio, as MCP clients start it.",
    )
    parser.add_argument("--version", action="version", version=f"snapshot-mcp {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="command")
    serve = commands.add_parser(
        "serve", parents=[which], help="serve MCP over stdio or Streamable HTTP"
    )
    serve.add_argument(
        "--transport", choices=["stdio", "http"], default="stdio", help="how (stdio)"
    )
    serve.add_argument("--host", default="127.0.0.1", help="address to listen at (127.0.0.1)")
    serve.add_argument("--port", type=_port, default=8765, help="port of http (8765)")
    _add_install(
        commands.add_parser(
            "install", parents=[which], help="add it to an MCP client, or remove it"
        )
    )
    doctor = commands.add_parser("doctor", help="check settings, cloud, key, data and versions")
    doctor.add_argument("--json", action="store_true", help="one JSON object")
    call = commands.add_parser("call", help="call one tool, as an assistant does")
    call.add_argument("tool", help="its name, such as list_snapshots")
    call.add_argument("values", nargs="*", metavar="key=value", help="its arguments")
    call.add_argument("--json", action="store_true", help="the structured content, as JSON")
    sandbox = commands.add_parser("sandbox", help="serve the embedded cloud's REST API alone")
    sandbox.add_argument("--port", type=_port, default=8080, help="port (8080)")
    demo = commands.add_parser("demo", help="run the main job before your eyes")
    demo.add_argument("--retention", action="store_true", help="a tidy-up by policy instead")
    _add_ledger(commands.add_parser("ledger", help="show what was attempted, or verify the record"))
    completion = commands.add_parser("completion", help="print completions for a shell")
    completion.add_argument("shell", choices=SHELLS, help="whose")
    return parser


def _which_tools() -> argparse.ArgumentParser:
    # Without a default, so that what stands before a command is not undone by what stands after.
    which = argparse.ArgumentParser(add_help=False, argument_default=argparse.SUPPRESS)
    which.add_argument("--tools", metavar="NAMES", help="only these toolsets, between commas")
    which.add_argument("--read-only", action="store_true", help="only the tools that read")
    return which


def _add_install(install: argparse.ArgumentParser) -> None:
    install.add_argument("client", choices=tuple(CLIENTS), help="whose configuration to change")
    install.add_argument("--project", action="store_true", help="this folder's, in place of yours")
    install.add_argument("--name", default="snapshots", help="name of the entry (snapshots)")
    install.add_argument(
        "--env",
        action="append",
        default=[],
        metavar="NAME[=VALUE]",
        help="a setting: NAME=VALUE writes the value in the clear, NAME refers to the environment",
    )
    install.add_argument("--consent", choices=CONSENTS, help="evidence that deletions need")
    install.add_argument("--dry-run", action="store_true", help="show the difference only")
    install.add_argument("--uninstall", action="store_true", help="remove the entry")


def _add_ledger(ledger: argparse.ArgumentParser) -> None:
    what = ("show", "verify")
    ledger.add_argument("action", nargs="?", choices=what, default="show", help="what (show)")
    ledger.add_argument("--tool", default="", help="only this tool")
    ledger.add_argument("--event", default="", help="only this event: sent, refused, ...")
    ledger.add_argument("--since", type=_time, help="only from this date or time on (UTC)")
    ledger.add_argument("--limit", type=_count, default=50, help="newest rows at most (50); 0: all")
    ledger.add_argument("--json", action="store_true", help="one JSON object a line")


def _port(text: str) -> int:
    if not (text.isascii() and text.isdigit() and int(text) <= MAX_PORT):
        raise argparse.ArgumentTypeError(f"must be a number between 0 and {MAX_PORT}")
    return int(text)


def _time(text: str) -> datetime:
    from snapshot_mcp.core.clock import parse_utc  # noqa: PLC0415 - only one option needs it

    try:
        return parse_utc(text)
    except ValueError:
        raise argparse.ArgumentTypeError("must be a date or time such as 2026-05-31") from None


def _count(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= MAX_COUNT_LENGTH):
        raise argparse.ArgumentTypeError("must be a whole number")
    return int(text)
