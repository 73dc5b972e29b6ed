"""Entry point of the process: the command `snapshot-mcp`, and `python -m snapshot_mcp`."""

import sys

from snapshot_mcp.cli.signals import end_on_signals


def run() -> int:
    """Run one command and return its exit code; a signal ends the process at any moment."""
    end_on_signals()
    from snapshot_mcp.cli.main import main  # noqa: PLC0415 - takes time, in which signals may come

    return main()


if __name__ == "__main__":
    sys.exit(run())
