"""Repeated log lines are counted."""

import io
import json
import logging
from collections.abc import Generator

import pytest

from snapshot_mcp.telemetry.logs import configure_logging
from snapshot_mcp.transports.http.log_limits import RepetitionFilter

OWN = "snapshot_mcp.transports.http.error_responses"


class Log:
    """The log of a server: its lines, and the filter that limits them."""

    def __init__(self) -> None:
        self._stream = io.StringIO()
        root = logging.getLogger()
        handler = logging.StreamHandler(self._stream)
        handler.setFormatter(root.handlers[0].formatter)
        root.handlers[:] = [handler]
        self.filter = RepetitionFilter(handler)
        handler.addFilter(self.filter)

    def lines(self) -> list[str]:
        """Return the lines since the last call."""
        lines = self._stream.getvalue().splitlines()
        self._stream.seek(0)
        self._stream.truncate()
        return lines


@pytest.fixture
def log() -> Generator[Log]:
    """Configure logging as a server does, and restore it at the end."""
    root = logging.getLogger()
    own = logging.getLogger("snapshot_mcp")
    before = (root.handlers[:], root.level, own.level)
    configure_logging({"SNAPSHOT_MCP_LOG_FORMAT": "json"})
    yield Log()
    root.handlers[:] = before[0]
    root.setLevel(before[1])
    own.setLevel(before[2])


def refuse(status: int, request_id: str) -> None:
    template = f"request %s: {status}, %s"
    logging.getLogger(OWN).warning(template, request_id, "No.")


def test_the_first_line_of_a_kind_is_written_and_the_others_are_counted(log: Log) -> None:
    for number in range(1_000):
        refuse(401, f"id-{number}")
    (line,) = log.lines()
    assert json.loads(line)["event"] == "request id-0: 401, No."
    log.filter.flush()
    (line,) = log.lines()
    assert json.loads(line)["event"] == "request id-999: 401, No."
    assert json.loads(line)["repeated"] == 999
    log.filter.flush()
    assert log.lines() == []
    refuse(401, "later")
    assert len(log.lines()) == 1
    log.filter.flush()
    assert log.lines() == []


def test_each_status_is_a_kind_of_its_own(log: Log) -> None:
    for _ in range(10):
        refuse(401, "a")
        refuse(503, "b")
    assert len(log.lines()) == 2
    log.filter.flush()
    assert [json.loads(line)["repeated"] for line in log.lines()] == [9, 9]


def test_lines_of_libraries_are_of_one_kind_whatever_text_they_contain(log: Log) -> None:
    for number in range(100):
        logging.getLogger("mcp.server").warning(f"Invalid header: {number}")  # noqa: G004 - as the SDK does
    assert len(log.lines()) == 1
    log.filter.flush()
    assert [json.loads(line)["repeated"] for line in log.lines()] == [99]


def test_another_exception_at_the_same_place_is_of_another_kind(log: Log) -> None:
    for error in (ValueError("a"), ValueError("b"), KeyError("c")):
        logging.getLogger("uvicorn.error").error("Exception in ASGI application", exc_info=error)
    assert len(log.lines()) == 2


def test_lines_about_changes_are_never_counted(log: Log) -> None:
    for _ in range(3):
        logging.getLogger("snapshot_mcp.consent.gate").error("a refusal could not be recorded")
    assert len(log.lines()) == 3
    log.filter.flush()
    assert log.lines() == []
