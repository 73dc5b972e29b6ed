"""The `command` fixture of tests/processes, which runs commands in this process."""

from tests.processes.conftest import command

__all__ = ["command"]
