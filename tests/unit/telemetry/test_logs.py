"""Logs: one line per record, as text or JSON, without secrets and untrusted text."""

import json
import logging
import re
from collections.abc import Generator
from typing import Any

import pytest

from snapshot_mcp.core.errors import ConfigurationError, LedgerError
from snapshot_mcp.telemetry.logs import configure_logging
from tests.hostile.corpus import TEXTS

KEY = "canary-of-the-key"
URL = "postgresql://team:canary-of-the-database@127.0.0.1/db"
# Its digits may also occur in a hostile text.
TIME = re.compile(r"\d{4}-\d\d-\d\dT[\d:.]+Z")


class Stderr:
    """The text that was written to stderr since the last read."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self.getvalue = lambda: capsys.readouterr().err


@pytest.fixture
def stderr(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Generator[Stderr]:
    """The logged text; the loggers are restored afterwards."""
    root, own = logging.getLogger(), logging.getLogger("snapshot_mcp")
    before = (root.handlers[:], root.level, own.level)
    monkeypatch.setenv("SNAPSHOT_MCP_API_KEY", KEY)
    monkeypatch.setenv("SNAPSHOT_MCP_DATABASE_URL", URL)
    yield Stderr(capsys)
    root.handlers[:], level, own_level = before
    root.setLevel(level)
    own.setLevel(own_level)


def fail(error: Exception) -> None:
    raise error


def lines_of(text: Stderr) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.getvalue().splitlines()]


def test_a_json_record_has_time_level_logger_and_event(stderr: Stderr) -> None:
    configure_logging({"SNAPSHOT_MCP_LOG_FORMAT": "json", "SNAPSHOT_MCP_LOG_LEVEL": "info"})
    logging.getLogger("snapshot_mcp.part").info("the cloud answered %d", 500, extra={"calls": 3})
    logging.getLogger("snapshot_mcp.part").debug("too small")
    (line,) = lines_of(stderr)
    assert line.pop("timestamp").endswith("Z")
    assert line == {
        "level": "info",
        "logger": "snapshot_mcp.part",
        "event": "the cloud answered 500",
        "calls": 3,
    }


def test_the_default_is_text_at_level_warning(stderr: Stderr) -> None:
    configure_logging({})
    logging.getLogger("snapshot_mcp.part").info("too small")
    logging.getLogger("snapshot_mcp.part").warning("seen")
    (line,) = stderr.getvalue().splitlines()
    assert "[warning" in line
    assert "seen" in line
    assert "snapshot_mcp.part" in line


@pytest.mark.parametrize("form", ["text", "json"])
@pytest.mark.parametrize("name", TEXTS)
def test_records_of_libraries_contain_no_untrusted_text(
    stderr: Stderr, form: str, name: str
) -> None:
    configure_logging({"SNAPSHOT_MCP_LOG_FORMAT": form})
    library = logging.getLogger("mcp.server")
    library.warning(f"Failed to validate request: {TEXTS[name]}")
    library.warning("Failed to validate %s", TEXTS[name])
    try:
        fail(ValueError(TEXTS[name]))
    except ValueError:
        library.exception("it failed: %s", TEXTS[name])
        logging.getLogger("snapshot_mcp.part").exception("it failed")
    lines = stderr.getvalue().splitlines()
    assert len(lines) == 4
    for line in lines:
        assert line.isascii()
        assert len(TEXTS[name]) < 4 or TEXTS[name] not in TIME.sub("", line)
        assert "attacker" not in line
        assert "delete_snapshot" not in line
    assert "ValueError at test_logs.py" in lines[3]


@pytest.mark.parametrize("form", ["text", "json"])
def test_secrets_in_a_record_are_redacted(stderr: Stderr, form: str) -> None:
    configure_logging({"SNAPSHOT_MCP_LOG_FORMAT": form})
    own = logging.getLogger("snapshot_mcp.part")
    own.warning("key %s at %s", KEY, URL, extra={"other": f"x{KEY}", "odd": [KEY]})
    own.warning("password canary-of-the-database")
    written = stderr.getvalue()
    assert "canary" not in written
    assert written.count("[secret]") >= 4


def test_an_exception_is_logged_as_type_and_position_with_its_causes(stderr: Stderr) -> None:
    configure_logging({"SNAPSHOT_MCP_LOG_FORMAT": "json"})
    try:
        try:
            fail(OSError("canary"))
        except OSError as error:
            raise LedgerError("canary") from error
    except LedgerError:
        logging.getLogger("snapshot_mcp").exception("not recorded")
    written = stderr.getvalue()
    line = json.loads(written)
    first, second = line["raised"].split(" < ")
    assert first.startswith("LedgerError at test_logs.py:")
    assert second.startswith("OSError at test_logs.py:")
    assert "canary" not in written


@pytest.mark.parametrize("name", ["SNAPSHOT_MCP_LOG_FORMAT", "SNAPSHOT_MCP_LOG_LEVEL"])
def test_an_unknown_format_or_level_is_refused(name: str) -> None:
    with pytest.raises(ConfigurationError, match=name):
        configure_logging({name: "loud"})


def test_a_key_is_hidden_also_if_its_setting_has_quotes(
    stderr: Stderr, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SNAPSHOT_MCP_API_KEY", f'"{KEY}"')
    configure_logging({})
    logging.getLogger("snapshot_mcp.part").warning("the key is %s", KEY)
    text = stderr.getvalue()
    assert KEY not in text
    assert "[secret]" in text
