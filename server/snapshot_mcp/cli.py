"""The command line: argv in, exit codes out. Diagnostics go to stderr; stdout is the wire."""

import argparse
import gc
import io
import logging
import os
import sys
from collections.abc import Sequence
from datetime import datetime

from snapshot_mcp import __version__
from snapshot_mcp.errors import ConfigError, LedgerError

EXIT_OK = 0
EXIT_FAILED = 1
EXIT_BAD_SETTINGS = 2
EXIT_INTERRUPTED = 130
LARGEST_PORT = 65_535
LONGEST_COUNT = 9


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        argv: the arguments; those of the process by default.

    Returns:
        The exit code: 0 for success, 1 for a failure, 2 for bad settings or arguments.
    """
    words = sys.argv[1:] if argv is None else argv
    # A client starts it without any: the most frequent start is spared the parser.
    arguments = _parsed(words) if words else argparse.Namespace(command=None)
    logging.basicConfig(
        stream=sys.stderr, level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s"
    )
    _let_any_text_be_printed()
    try:
        return _run(arguments)
    except ConfigError as error:
        _tell(str(error))
        return EXIT_BAD_SETTINGS
    except LedgerError as error:
        _tell(str(error))
        return EXIT_FAILED
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED


def _parsed(words: Sequence[str]) -> argparse.Namespace:
    parser = build_parser()
    arguments = parser.parse_args(words)
    told = arguments.__dict__.keys() & {"tools", "read_only"}
    if told and arguments.command not in (None, "serve"):
        parser.error(f"--tools and --read-only are not for {arguments.command}")
    return arguments


def build_parser() -> argparse.ArgumentParser:
    """What the command line takes."""
    # Without a default, so that what stands before a command is not undone by what stands after.
    which = argparse.ArgumentParser(add_help=False, argument_default=argparse.SUPPRESS)
    which.add_argument("--tools", metavar="NAMES", help="only these toolsets, between commas")
    which.add_argument("--read-only", action="store_true", help="only the tools that read")
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
    serve.add_argument("--transport", choices=["stdio", "http"], default="stdio")
    serve.add_argument("--host", default="127.0.0.1", help="loopback address (127.0.0.1)")
    serve.add_argument("--port", type=_port, default=8765, help="port of http (8765)")
    sandbox = commands.add_parser("sandbox", help="serve the embedded cloud's REST API alone")
    sandbox.add_argument("--port", type=_port, default=8080, help="port (8080)")
    demo = commands.add_parser("demo", help="run the main job before your eyes")
    demo.add_argument("--retention", action="store_true", help="a tidy-up by policy instead")
    ledger = commands.add_parser("ledger", help="show what was attempted, or verify the record")
    ledger.add_argument("action", nargs="?", choices=["show", "verify"], default="show")
    ledger.add_argument("--tool", default="", help="only this tool")
    ledger.add_argument("--event", default="", help="only this event: sent, refused, ...")
    ledger.add_argument("--since", type=_time, help="only from this date or time on (UTC)")
    ledger.add_argument("--limit", type=_count, default=50, help="newest rows at most (50); 0: all")
    ledger.add_argument("--json", action="store_true", help="one JSON object a line")
    return parser


def _let_any_text_be_printed() -> None:
    # A console that is not UTF-8, as on Windows, must not end a command with a traceback.
    stdout: object = sys.stdout
    if isinstance(stdout, io.TextIOWrapper):
        stdout.reconfigure(errors="backslashreplace")


def _tell(sentence: str) -> None:
    # With stderr closed, print() would write to stdout, which is the wire.
    if sys.stderr is not None:  # pyright: ignore[reportUnnecessaryComparison] - it can be None
        print(f"snapshot-mcp: {sentence}", file=sys.stderr)


def _port(text: str) -> int:
    if not (text.isascii() and text.isdigit() and int(text) <= LARGEST_PORT):
        raise argparse.ArgumentTypeError(f"must be a number between 0 and {LARGEST_PORT}")
    return int(text)


def _run(arguments: argparse.Namespace) -> int:
    match arguments.command:
        case "demo":
            from snapshot_mcp.demo import run_demo  # noqa: PLC0415 - only this command needs it

            return EXIT_OK if run_demo(retention=arguments.retention) else EXIT_FAILED
        case "ledger":
            return _run_ledger(arguments)
        case "sandbox":
            _run_sandbox(arguments.port)
        case _:
            _run_server(arguments)
    return EXIT_OK


def _run_ledger(arguments: argparse.Namespace) -> int:
    import anyio  # noqa: PLC0415 - only this command needs it here

    from snapshot_mcp.clock import utc_now  # noqa: PLC0415 - as above
    from snapshot_mcp.ledger import Ledger  # noqa: PLC0415 - as above
    from snapshot_mcp.ledger_view import as_json, as_text  # noqa: PLC0415 - as above
    from snapshot_mcp.settings import LEDGER_FILE, read_data_folder  # noqa: PLC0415 - as above

    ledger = Ledger(read_data_folder(os.environ) / LEDGER_FILE, utc_now)
    if arguments.action == "verify":
        problems = anyio.run(ledger.verify)
        print("\n".join(problems) if problems else "The ledger is whole.")
        return EXIT_FAILED if problems else EXIT_OK
    rows = anyio.run(
        lambda: ledger.rows(
            tool=arguments.tool,
            event=arguments.event,
            since=arguments.since,
            limit=arguments.limit,
        )
    )
    if rows:
        print((as_json if arguments.json else as_text)(rows))
    return EXIT_OK


def _time(text: str) -> datetime:
    from snapshot_mcp.clock import parse_utc  # noqa: PLC0415 - only one option needs it

    try:
        return parse_utc(text)
    except ValueError:
        raise argparse.ArgumentTypeError("must be a date or time such as 2026-05-31") from None


def _count(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= LONGEST_COUNT):
        raise argparse.ArgumentTypeError("must be a whole number")
    return int(text)


def _run_sandbox(port: int) -> None:
    from snapshot_mcp.sandbox.serve import serve  # noqa: PLC0415 - only this command needs it
    from snapshot_mcp.settings import CLOUD_FILE, read_data_folder, sandbox_key  # noqa: PLC0415

    serve(
        port=port,
        database=read_data_folder(os.environ) / CLOUD_FILE,
        api_key=sandbox_key(os.environ),
    )


def _run_server(arguments: argparse.Namespace) -> None:
    from snapshot_mcp.settings import read_settings, read_toolsets  # noqa: PLC0415 - --version stays quick

    # What is made at the start stays to the end: to look through it for garbage would cost a tenth.
    gc.disable()
    settings = read_settings(os.environ)
    if "tools" in arguments:
        settings = settings.model_copy(update={"toolsets": read_toolsets(arguments.tools)})
    if "read_only" in arguments:
        settings = settings.model_copy(update={"read_only": True})
    # The SDK comes with this import: bad settings need not wait for it.
    from snapshot_mcp.serving import serve_http, serve_stdio  # noqa: PLC0415

    if settings.embedded:
        _tell(
            "there is no API key, so the embedded cloud is used."
            " Set SNAPSHOT_MCP_API_KEY for the real one."
        )
    if getattr(arguments, "transport", "stdio") == "http":
        serve_http(settings, host=arguments.host, port=arguments.port)
    else:
        serve_stdio(settings)
