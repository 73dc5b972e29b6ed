"""The report of a benchmark run, as Markdown, as JSON, and as a section of a document."""

import json
import os
import platform
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, NamedTuple

from bench.import_times import ImportTime
from bench.measurements import KIBIBYTES_PER_MEBIBYTE, Measure, Measures, Spread
from bench.servers import BASELINE, DIRECT, FASTMCP, SNAPSHOT_MCP
from bench.stdio_client import PROTOCOL
from bench.targets import Verdict

BEGIN = "<!-- bench: begin -->"
END = "<!-- bench: end -->"
_COLUMNS = (SNAPSHOT_MCP, BASELINE, FASTMCP, DIRECT)
_COMPARED = (BASELINE, FASTMCP, DIRECT)
_NEW_DOCUMENT = "# Performance\n\n`make bench BENCH=--write` generated these results.\n\n"
_MIN_WITHOUT_DECIMALS = 100
_PACKAGES = ("snapshot-mcp", "mcp", "fastmcp", "httpx", "pydantic", "uvicorn")


class Report(NamedTuple):
    """The results of a run, and the machine and software that it used."""

    facts: dict[str, str]
    measures: Measures
    verdicts: Sequence[Verdict]
    imports: Sequence[ImportTime]


def describe_run(mode: str) -> dict[str, str]:
    """Return the date, the machine and the software of the report."""
    return {
        "date": f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
        "mode": mode,
        "machine": f"{os.cpu_count()} cores, {_memory()}, {platform.system()} {platform.machine()}",
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "packages": ", ".join(_versions()),
        "protocol": f"{PROTOCOL}, with initialize, over stdio and over Streamable HTTP",
    }


def format_json(report: Report) -> str:
    """Return the report as JSON."""
    document: dict[str, Any] = {
        "about": report.facts,
        "measures": {
            key: {
                "title": measure.title,
                "unit": measure.unit,
                "values": {name: spread._asdict() for name, spread in measure.values.items()},
                "ratios": dict(_ratios(measure)),
            }
            for key, measure in report.measures.items()
        },
        "targets": [verdict._asdict() | {"verdict": verdict.word} for verdict in report.verdicts],
        "imports": [import_time._asdict() for import_time in report.imports],
    }
    return json.dumps(document, indent=1) + "\n"


def format_markdown(report: Report) -> str:
    """Return the report as Markdown tables, aligned for a terminal."""
    facts = [f"- {name}: {fact}" for name, fact in report.facts.items()]
    head = ["measured", "unit", *_COLUMNS, *(f"ratio to {name}" for name in _COMPARED)]
    rows = [_row(measure) for measure in report.measures.values()]
    targets = [
        [
            verdict.target,
            _number(verdict.value),
            f"at most {verdict.limit:g} {verdict.unit}",
            verdict.word,
        ]
        for verdict in report.verdicts
    ]
    imports = [
        [import_time.name, _number(import_time.milliseconds), f"{import_time.share:.1%}"]
        for import_time in report.imports
    ]
    return "\n".join(
        [
            *facts,
            "",
            "Each value is the median of the runs, with the quartiles in brackets. A ratio is the",
            "value of snapshot-mcp divided by the other value.",
            "",
            *_table(head, rows),
            "",
            *_table(["target", "measured", "limit", "verdict"], targets),
            "",
            "Start-up time by package, from `python -X importtime`. The time of a package does not",
            "include the packages that it imports.",
            "",
            *_table(["package", "ms", "of all imports"], imports),
        ]
    )


def write_section(report: Report, path: Path) -> None:
    """Replace the text between the markers of a document by the report."""
    text = path.read_text(encoding="utf-8") if path.exists() else _NEW_DOCUMENT
    if BEGIN not in text or END not in text:
        text = f"{text.rstrip()}\n\n{BEGIN}\n{END}\n"
    before, _, rest = text.partition(BEGIN)
    after = rest.partition(END)[2]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(
        f"{before}{BEGIN}\n\n{format_markdown(report)}\n\n{END}{after}", encoding="utf-8"
    )


def _row(measure: Measure) -> list[str]:
    ratios = dict(_ratios(measure))
    return [
        measure.title,
        measure.unit,
        *(_spread(measure.values.get(name)) for name in _COLUMNS),
        *(f"{ratios[name]:.2f}" if name in ratios else "" for name in _COMPARED),
    ]


def _ratios(measure: Measure) -> Iterator[tuple[str, float]]:
    own = measure.values.get(SNAPSHOT_MCP)
    for name in _COMPARED:
        other = measure.values.get(name)
        if own and other and other.median:
            yield name, own.median / other.median


def _spread(value: Spread | None) -> str:
    if value is None:
        return ""
    middle = _number(value.median)
    if value.lowest == value.highest:
        return middle
    return f"{middle} ({_number(value.first_quartile)}..{_number(value.third_quartile)})"


def _number(value: float | None) -> str:
    if value is None:
        return ""
    return f"{value:,.0f}" if abs(value) >= _MIN_WITHOUT_DECIMALS else f"{value:.2f}"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]
    yield _line(head, widths)
    yield _line(["-" * width for width in widths], widths)
    for row in rows:
        yield _line(row, widths)


def _line(cells: Iterable[str], widths: Sequence[int]) -> str:
    padded = (cell.ljust(width) for cell, width in zip(cells, widths, strict=True))
    return f"| {' | '.join(padded)} |"


def _versions() -> Iterator[str]:
    for name in _PACKAGES:
        try:
            yield f"{name} {version(name)}"
        except PackageNotFoundError:
            yield f"{name} not installed"


def _memory() -> str:
    try:
        mebibytes = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**20
    except (AttributeError, ValueError, OSError):  # not available on every platform
        return "memory unknown"
    return f"{mebibytes / KIBIBYTES_PER_MEBIBYTE:.0f} GiB"
