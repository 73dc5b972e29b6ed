"""The commands run in this process, as those of `tests/processes` that end before they serve."""

from tests.processes.conftest import command

__all__ = ["command"]
