"""The command line: argv in, exit codes out. Diagnostics go to stderr; stdout is the wire."""

import argparse
import logging
import os
import signal
import sys
from collections.abc import Sequence

from snapshot_mcp import __version__
from snapshot_mcp.errors import ConfigError

EXIT_OK = 0
EXIT_FAILED = 1
EXIT_BAD_SETTINGS = 2
EXIT_INTERRUPTED = 130
LARGEST_PORT = 65_535


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        argv: the arguments; those of the process by default.

    Returns:
        The exit code: 0 for success, 1 for a failure, 2 for bad settings or arguments.
    """
    arguments = build_parser().parse_args(argv)
    logging.basicConfig(
        stream=sys.stderr, level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s"
    )
    try:
        return _run(arguments)
    except ConfigError as error:
        _tell(str(error))
        return EXIT_BAD_SETTINGS
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED


def build_parser() -> argparse.ArgumentParser:
    """What the command line takes."""
    parser = argparse.ArgumentParser(
        prog="snapshot-mcp",
        description="Looks after the snapshots of cloud machines, for AI assistants (MCP).",
        epilog="Without a command it serves over stdio, as MCP clients start it.",
    )
    parser.add_argument("--version", action="version", version=f"snapshot-mcp {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="command")
    serve = commands.add_parser("serve", help="serve MCP over stdio or Streamable HTTP")
    serve.add_argument("--transport", choices=["stdio", "http"], default="stdio")
    serve.add_argument("--host", default="127.0.0.1", help="loopback address (127.0.0.1)")
    serve.add_argument("--port", type=_port, default=8765, help="port of http (8765)")
    sandbox = commands.add_parser("sandbox", help="serve the embedded cloud's REST API alone")
    sandbox.add_argument("--port", type=_port, default=8080, help="port (8080)")
    commands.add_parser("demo", help="run the main job before your eyes")
    return parser


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

            return EXIT_OK if run_demo() else EXIT_FAILED
        case "sandbox":
            _run_sandbox(arguments.port)
        case _:
            _run_server(arguments)
    return EXIT_OK


def _run_sandbox(port: int) -> None:
    from snapshot_mcp.sandbox.serve import serve  # noqa: PLC0415 - only this command needs it
    from snapshot_mcp.settings import read_data_folder, sandbox_key  # noqa: PLC0415 - as above

    serve(
        port=port,
        database=read_data_folder(os.environ) / "cloud.db",
        api_key=sandbox_key(os.environ),
    )


def _run_server(arguments: argparse.Namespace) -> None:
    from snapshot_mcp.settings import read_settings  # noqa: PLC0415 - --version stays quick

    settings = read_settings(os.environ)
    # The SDK comes with this import: bad settings need not wait for it.
    from snapshot_mcp.app import create_server, serve_http  # noqa: PLC0415

    if settings.embedded:
        _tell(
            "there is no API key, so the embedded cloud is used."
            " Set SNAPSHOT_MCP_API_KEY for the real one."
        )
    if getattr(arguments, "transport", "stdio") == "http":
        serve_http(settings, host=arguments.host, port=arguments.port)
    else:
        # The thread that reads stdin cannot be interrupted, so Ctrl-C must end the process itself.
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        create_server(settings).run("stdio")
