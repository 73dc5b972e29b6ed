"""The report of a run: a table for people, JSON for machines, and a section of a document."""

import json
import os
import platform
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, NamedTuple

from bench.import_times import Import
from bench.measurements import KIBIBYTES_OF_A_MEBIBYTE, Measure, Measures, Spread
from bench.servers import BARE, DIRECT, OURS, PEER
from bench.stdio_client import PROTOCOL
from bench.targets import Verdict

BEGIN = "<!-- bench: begin -->"
END = "<!-- bench: end -->"
_COLUMNS = (OURS, BARE, PEER, DIRECT)
_RATIOS = (BARE, PEER, DIRECT)
_NEW_DOCUMENT = "# Performance\n\n`make bench` measures; what follows is what it wrote.\n\n"
_LARGE = 100
_PACKAGES = ("snapshot-mcp", "mcp", "fastmcp", "httpx", "pydantic", "uvicorn")


class Run(NamedTuple):
    """A run: what it was done with, and what came out."""

    about: dict[str, str]
    measures: Measures
    verdicts: Sequence[Verdict]
    imports: Sequence[Import]


def about(mode: str) -> dict[str, str]:
    """When and on what the run is done."""
    return {
        "date": f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
        "mode": mode,
        "machine": f"{os.cpu_count()} cores, {_memory()}, {platform.system()} {platform.machine()}",
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "packages": ", ".join(_versions()),
        "protocol": f"{PROTOCOL}, with initialize, over stdio and over Streamable HTTP",
    }


def as_json(run: Run) -> str:
    """The run as JSON."""
    told: dict[str, Any] = {
        "about": run.about,
        "measures": {
            key: {
                "title": measure.title,
                "unit": measure.unit,
                "values": {name: own._asdict() for name, own in measure.values.items()},
                "ratios": dict(_ratios(measure)),
            }
            for key, measure in run.measures.items()
        },
        "targets": [verdict._asdict() | {"verdict": verdict.word} for verdict in run.verdicts],
        "imports": [it._asdict() for it in run.imports],
    }
    return json.dumps(told, indent=1) + "\n"


def as_markdown(run: Run) -> str:
    """The run as two Markdown tables, which are aligned for a terminal too."""
    facts = [f"- {name}: {fact}" for name, fact in run.about.items()]
    head = ["measured", "unit", *_COLUMNS, *(f"ours/{name}" for name in _RATIOS)]
    rows = [_row(measure) for measure in run.measures.values()]
    targets = [
        [it.target, _number(it.value), f"at most {it.limit:g} {it.unit}", it.word]
        for it in run.verdicts
    ]
    imports = [[it.name, _number(it.milliseconds), f"{it.share:.1%}"] for it in run.imports]
    return "\n".join(
        [
            *facts,
            "",
            "Each value is the median of the runs, with the quartiles in brackets.",
            "",
            *_table(head, rows),
            "",
            *_table(["target", "measured", "limit", "verdict"], targets),
            "",
            "Where the time of a start goes, by `python -X importtime`: each package without what",
            "it imports from others.",
            "",
            *_table(["package", "ms", "of all imports"], imports),
        ]
    )


def keep(run: Run, path: Path) -> None:
    """Put the run between the marks of a document; all else in it stays."""
    text = path.read_text(encoding="utf-8") if path.exists() else _NEW_DOCUMENT
    if BEGIN not in text or END not in text:
        text = f"{text.rstrip()}\n\n{BEGIN}\n{END}\n"
    before, _, rest = text.partition(BEGIN)
    after = rest.partition(END)[2]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"{before}{BEGIN}\n\n{as_markdown(run)}\n\n{END}{after}", encoding="utf-8")


def _row(measure: Measure) -> list[str]:
    ratios = dict(_ratios(measure))
    return [
        measure.title,
        measure.unit,
        *(_spread(measure.values.get(name)) for name in _COLUMNS),
        *(f"{ratios[name]:.2f}" if name in ratios else "" for name in _RATIOS),
    ]


def _ratios(measure: Measure) -> Iterator[tuple[str, float]]:
    ours = measure.values.get(OURS)
    for name in _RATIOS:
        other = measure.values.get(name)
        if ours and other and other.median:
            yield name, ours.median / other.median


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
    return f"{value:,.0f}" if abs(value) >= _LARGE else f"{value:.2f}"


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
            yield f"{name} absent"


def _memory() -> str:
    try:
        mebibytes = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**20
    except (AttributeError, ValueError, OSError):  # not told by every system
        return "memory unknown"
    return f"{mebibytes / KIBIBYTES_OF_A_MEBIBYTE:.0f} GiB"
