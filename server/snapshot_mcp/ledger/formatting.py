"""The ledger's rows as the command line shows them: text for people, JSON lines for programs.

Arguments, reasons and names of clients were written by others: nothing in them may reach the
terminal as anything but letters, nor begin a line of its own.
"""

import json
import re
from collections.abc import Iterable

from snapshot_mcp.core.sanitize import quote_unless_word, sanitize
from snapshot_mcp.ledger.chain import Row

_NOTHING = "-"
_TIME = re.compile(r"[0-9T:.+-]+")
_MAX_CELL_WIDTH = 4_000


def as_text(rows: Iterable[Row]) -> str:
    """One line a row."""
    return "\n".join(map(_line, rows))


def as_json(rows: Iterable[Row]) -> str:
    """One JSON object a line, fields as they are stored; ASCII without control characters."""
    return "\n".join(map(_json, rows))


def _line(row: Row) -> str:
    who = _cell(row.principal) + (f"/{_cell(row.client)}" if row.client else "")
    cells = (
        row.at if _TIME.fullmatch(str(row.at)) else _cell(row.at),
        _cell(row.event).ljust(len("planned")),
        _cell(row.tool).ljust(len("restore_snapshot")),
        _cell(row.target),
        _cell(row.evidence),
        _cell(row.attempt),
        who,
        _cell(row.reason),
        _arguments(row.arguments),
    )
    return "  ".join(cells)


def _cell(value: object) -> str:
    text = sanitize(str(value), _MAX_CELL_WIDTH).text
    return quote_unless_word(text) if text else _NOTHING


def _arguments(value: object) -> str:
    # The last column: a JSON object there needs no second pair of quotation marks.
    text = sanitize(str(value), _MAX_CELL_WIDTH).text
    return text if text.startswith("{") else _cell(value)


def _json(row: Row) -> str:
    line = json.dumps(row._asdict(), ensure_ascii=True, default=bytes.hex)
    return line.replace("\x7f", "\\u007f")  # a control character, yet JSON leaves it as it is
