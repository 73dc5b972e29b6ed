"""The command line: argv in, exit codes out. Diagnostics go to stderr; stdout is the wire."""

import gc
import io
import os
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from snapshot_mcp.cli import exit_codes
from snapshot_mcp.core.errors import ConfigurationError, SnapshotMcpError
from snapshot_mcp.telemetry.logs import configure_logging

if TYPE_CHECKING:
    import argparse

    from snapshot_mcp.settings.environment import Settings


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        argv: the arguments; those of the process by default.

    Returns:
        The exit code, one of `exit_codes`.
    """
    words = sys.argv[1:] if argv is None else argv
    # A client starts it without any: the most frequent start is spared the parser.
    arguments = _parsed(words) if words else None
    _let_any_text_be_printed()
    try:
        configure_logging(os.environ)
        return _run(arguments) if arguments else _serve()
    except ConfigurationError as error:
        _tell(str(error))
        return exit_codes.BAD_SETTINGS
    except SnapshotMcpError as error:
        _tell(str(error))
        return exit_codes.FAILED
    except KeyboardInterrupt:
        return exit_codes.INTERRUPTED


def _parsed(words: Sequence[str]) -> "argparse.Namespace":
    from snapshot_mcp.cli.parser import parse  # noqa: PLC0415 - not for a start by a client

    return parse(words)


def _let_any_text_be_printed() -> None:
    # A console that is not UTF-8, as on Windows, must not end a command with a traceback.
    stdout: object = sys.stdout
    if isinstance(stdout, io.TextIOWrapper):
        stdout.reconfigure(errors="backslashreplace")


def _tell(sentence: str) -> None:
    # With stderr closed, print() would write to stdout, which is the wire.
    if sys.stderr is not None:  # pyright: ignore[reportUnnecessaryComparison] - it can be None
        print(f"snapshot-mcp: {sentence}", file=sys.stderr)


def _run(arguments: "argparse.Namespace") -> int:  # noqa: PLR0911 - one end a command
    match arguments.command:
        case "install":
            from snapshot_mcp.cli.install.command import run_install  # noqa: PLC0415 - loaded if asked

            return run_install(arguments)
        case "doctor":
            from snapshot_mcp.cli.doctor.command import run_doctor  # noqa: PLC0415 - loaded if asked

            return run_doctor(arguments)
        case "call":
            from snapshot_mcp.cli.call import run_call  # noqa: PLC0415 - loaded if asked

            return run_call(arguments)
        case "demo":
            from snapshot_mcp.cli.demo import run_demo  # noqa: PLC0415 - loaded if asked

            return exit_codes.OK if run_demo(retention=arguments.retention) else exit_codes.FAILED
        case "ledger":
            from snapshot_mcp.cli.ledger import run_ledger  # noqa: PLC0415 - loaded if asked

            return run_ledger(arguments)
        case "completion":
            from snapshot_mcp.cli.completion import run_completion  # noqa: PLC0415 - loaded if asked

            return run_completion(arguments)
        case "sandbox":
            return _run_sandbox(arguments.port)
        case _:
            return _serve(arguments)


def _run_sandbox(port: int) -> int:
    from snapshot_mcp.sandbox.serve import serve  # noqa: PLC0415 - only this command needs it
    from snapshot_mcp.settings.environment import CLOUD_FILE, read_data_folder, sandbox_key  # noqa: PLC0415

    serve(
        port=port,
        database=read_data_folder(os.environ) / CLOUD_FILE,
        api_key=sandbox_key(os.environ),
    )
    return exit_codes.OK


def _serve(arguments: "argparse.Namespace | None" = None) -> int:
    from snapshot_mcp.settings.environment import read_settings  # noqa: PLC0415 - --version stays quick

    # What is made at the start stays to the end: to look through it for garbage would cost a tenth.
    gc.disable()
    settings = _narrowed(read_settings(os.environ), arguments)
    service = None
    if arguments and getattr(arguments, "transport", "stdio") == "http":
        from snapshot_mcp.transports.http.settings import read_http_settings  # noqa: PLC0415 - not for stdio

        service = read_http_settings(os.environ)
    # The SDK comes with this import: bad settings need not wait for it.
    from snapshot_mcp.transports.serve import serve_http, serve_stdio  # noqa: PLC0415

    if settings.embedded:
        _tell(
            "there is no API key, so the embedded cloud is used."
            " Set SNAPSHOT_MCP_API_KEY for the real one."
        )
    if arguments and service:
        serve_http(settings, service, host=arguments.host, port=arguments.port)
    else:
        serve_stdio(settings)
    return exit_codes.OK


def _narrowed(settings: "Settings", arguments: "argparse.Namespace | None") -> "Settings":
    """The settings, with what the arguments allow no more."""
    if arguments and "tools" in arguments:
        from snapshot_mcp.settings.environment import read_toolsets  # noqa: PLC0415 - as in _serve

        settings = settings.model_copy(update={"toolsets": read_toolsets(arguments.tools)})
    if arguments and "read_only" in arguments:
        settings = settings.model_copy(update={"read_only": True})
    return settings
