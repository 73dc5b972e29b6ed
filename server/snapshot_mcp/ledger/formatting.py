"""The ledger's rows as the command line prints them: text for people, JSON lines for programs.

Arguments, reasons and client names are untrusted: they must not control the terminal or begin a
line of their own.
"""

import json
import re
from collections.abc import Iterable

from snapshot_mcp.core.sanitize import is_plain_word, quoted_exactly, sanitize
from snapshot_mcp.ledger.chain import Row

_EMPTY_CELL = "-"
_TIMESTAMP = re.compile(r"[0-9T:.+-]+")
_MAX_CELL_WIDTH = 4_000


def format_text(rows: Iterable[Row]) -> str:
    """Return one line of text for each row."""
    return "\n".join(map(_format_line, rows))


def format_json(rows: Iterable[Row]) -> str:
    """Return one JSON object for each row: fields as stored, in ASCII, no control characters."""
    return "\n".join(map(_format_json_line, rows))


def _format_line(row: Row) -> str:
    caller = _cell(row.principal) + (f"/{_cell(row.client)}" if row.client else "")
    cells = (
        row.at if _TIMESTAMP.fullmatch(str(row.at)) else _cell(row.at),
        _cell(row.event).ljust(len("planned")),
        _cell(row.tool).ljust(len("restore_snapshot")),
        _cell(row.target),
        _cell(row.evidence),
        _cell(row.attempt),
        caller,
        _cell(row.reason),
        _arguments_cell(row.arguments),
    )
    return "  ".join(cells)


def _cell(value: object) -> str:
    text = sanitize(str(value), _MAX_CELL_WIDTH).text
    if not text:
        return _EMPTY_CELL
    return text if is_plain_word(text) else quoted_exactly(text)


def _arguments_cell(value: object) -> str:
    # In the last column, a JSON object needs no quotation marks around it.
    text = sanitize(str(value), _MAX_CELL_WIDTH).text
    return text if text.startswith("{") else _cell(value)


def _format_json_line(row: Row) -> str:
    line = json.dumps(row._asdict(), ensure_ascii=True, default=bytes.hex)
    return line.replace("\x7f", "\\u007f")  # JSON does not escape this control character
