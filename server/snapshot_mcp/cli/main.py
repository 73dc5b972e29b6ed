"""Entry point of the command line: parse argv, run one command, return an exit code.

Diagnostics go to stderr: over stdio, stdout carries the MCP messages.
"""

import gc
import os
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from snapshot_mcp.cli import exit_codes
from snapshot_mcp.cli.signals import raise_on_ctrl_c
from snapshot_mcp.cli.streams import StandardStreams, standard_streams
from snapshot_mcp.core.errors import ConfigurationError, SnapshotMcpError
from snapshot_mcp.telemetry.logs import configure_logging

if TYPE_CHECKING:
    import argparse

    from snapshot_mcp.settings.environment import Settings

_REAL_CLOUD_HINT = " Set SNAPSHOT_MCP_API_KEY to use the real cloud."


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        argv: the arguments; by default, those of the process.

    Returns:
        The exit code, one of `exit_codes`.
    """
    words = sys.argv[1:] if argv is None else argv
    with standard_streams() as streams:
        try:
            code = _run_words(words, streams)
        except Exception:
            if streams.output_error is None:
                raise
            code = exit_codes.FAILED
        if streams.output_error is None:
            return code
        if streams.is_pipe_closed:
            return exit_codes.CLOSED_PIPE
        reason = streams.output_error.strerror
        _print_diagnostic(f"the output cannot be written: {reason}.")
        return exit_codes.FAILED


def _run_words(words: Sequence[str], streams: StandardStreams) -> int:
    try:
        # A client starts the server without arguments: that start does not import the parser.
        arguments = _parse(words) if words else None
        if not (arguments and arguments.command == "doctor"):  # which reports invalid values
            configure_logging(os.environ)
        return _run(arguments, streams) if arguments else _serve(streams)
    except ConfigurationError as error:
        _print_diagnostic(str(error))
        return exit_codes.BAD_SETTINGS
    except SnapshotMcpError as error:
        _print_diagnostic(str(error))
        return exit_codes.FAILED
    except KeyboardInterrupt:
        return exit_codes.INTERRUPTED
    finally:
        sys.stdout.flush()


def _parse(words: Sequence[str]) -> "argparse.Namespace":
    from snapshot_mcp.cli.parser import parse  # noqa: PLC0415 - loaded on demand

    return parse(words)


def _print_diagnostic(text: str) -> None:
    print(f"snapshot-mcp: {text}", file=sys.stderr)


def _run(arguments: "argparse.Namespace", streams: StandardStreams) -> int:  # noqa: PLR0911 - one return per command
    if arguments.command not in (None, "serve"):  # the server handles signals itself
        raise_on_ctrl_c()
    match arguments.command:
        case "install":
            from snapshot_mcp.cli.install.command import run_install  # noqa: PLC0415 - loaded on demand

            return run_install(arguments)
        case "doctor":
            from snapshot_mcp.cli.doctor.command import run_doctor  # noqa: PLC0415 - loaded on demand

            return run_doctor(arguments)
        case "call":
            from snapshot_mcp.cli.call import run_call  # noqa: PLC0415 - loaded on demand

            return run_call(arguments)
        case "demo":
            from snapshot_mcp.cli.demo import run_demo  # noqa: PLC0415 - loaded on demand

            return exit_codes.OK if run_demo(retention=arguments.retention) else exit_codes.FAILED
        case "ledger":
            from snapshot_mcp.cli.ledger import run_ledger  # noqa: PLC0415 - loaded on demand

            return run_ledger(arguments)
        case "completion":
            from snapshot_mcp.cli.completion import run_completion  # noqa: PLC0415 - loaded on demand

            return run_completion(arguments)
        case "sandbox":
            return _run_sandbox(arguments.port, arguments.misbehave, arguments.credit)
        case _:
            return _serve(streams, arguments)


def _run_sandbox(port: int, misbehaviour: str, credit: float | None) -> int:
    from snapshot_mcp.sandbox.serve import serve  # noqa: PLC0415 - loaded on demand
    from snapshot_mcp.settings.environment import CLOUD_FILE, read_data_folder, read_sandbox_key  # noqa: PLC0415
    from snapshot_mcp.settings.start_checks import check_data_folder  # noqa: PLC0415 - loaded on demand

    folder = read_data_folder(os.environ)
    check_data_folder(folder)
    serve(
        port=port,
        database=folder / CLOUD_FILE,
        api_key=read_sandbox_key(os.environ),
        misbehaviour=misbehaviour,
        credit=credit,
    )
    return exit_codes.OK


def _serve(streams: StandardStreams, arguments: "argparse.Namespace | None" = None) -> int:
    from snapshot_mcp.settings.environment import read_settings  # noqa: PLC0415 - keeps --version fast
    from snapshot_mcp.settings.start_checks import check_start  # noqa: PLC0415 - as above

    # Objects created at the start live until the end; collection would take a tenth of the start.
    gc.disable()
    settings = _apply_options(read_settings(os.environ), arguments)
    http_settings = None
    if arguments and getattr(arguments, "transport", "stdio") == "http":
        from snapshot_mcp.transports.http.settings import (  # noqa: PLC0415 - HTTP only
            check_embedded_cloud,
            read_http_settings,
        )

        http_settings = read_http_settings(os.environ)
        check_embedded_cloud(settings)
    elif streams.closed & {"stdin", "stdout"}:
        raise SnapshotMcpError(
            "stdin or stdout is closed, but MCP over stdio needs both.",
            "Let an MCP client start the server, or use: snapshot-mcp serve --transport http",
        )
    check_start(settings, os.environ, slow=http_settings is not None)
    # This import loads the SDK, so bad settings are reported before it.
    from snapshot_mcp.transports.serve import serve_http, serve_stdio  # noqa: PLC0415

    if settings.embedded:
        hint = "" if settings.embedded_requested else _REAL_CLOUD_HINT
        _print_diagnostic(f"{settings.embedded_reason}, so the embedded cloud is used.{hint}")
    if settings.embedded_misbehaviour:
        _print_diagnostic(
            f"the embedded cloud misbehaves on purpose: {settings.embedded_misbehaviour}."
        )
    if arguments and http_settings:
        serve_http(settings, http_settings, host=arguments.host, port=arguments.port)
        return exit_codes.OK
    return exit_codes.OK if serve_stdio(settings) else exit_codes.CLOSED_PIPE


def _apply_options(settings: "Settings", arguments: "argparse.Namespace | None") -> "Settings":
    """Return the settings, restricted by --tools and --read-only."""
    if arguments and "tools" in arguments:
        from snapshot_mcp.settings.environment import read_toolsets  # noqa: PLC0415 - keeps --version fast

        settings = settings.model_copy(update={"toolsets": read_toolsets(arguments.tools)})
    if arguments and "read_only" in arguments:
        settings = settings.model_copy(update={"read_only": True})
    return settings
