"""Samples of the memory and the open files of another process."""

import shutil
import statistics
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple


class Sample(NamedTuple):
    """The state of a process at one moment.

    Attributes:
        seconds: time since the start of the load.
        kilobytes: resident set size (RSS); 0 if the platform does not report it.
        files: number of open files; 0 if the platform does not report it.
    """

    seconds: float
    kilobytes: int
    files: int


def take_sample(pid: int, started: float) -> Sample:
    """Return the current state of a process.

    Args:
        pid: the id of the process.
        started: the start of the load on the monotonic clock.
    """
    seconds = time.monotonic() - started
    folder = Path(f"/proc/{pid}")
    if not folder.exists():
        return Sample(seconds, _kilobytes_from_ps(pid), 0)
    lines = (folder / "status").read_text().splitlines()
    resident = next(line for line in lines if line.startswith("VmRSS:"))
    return Sample(seconds, int(resident.split()[1]), len(list((folder / "fd").iterdir())))


def growth_percent(samples: Sequence[Sample], warm_up_seconds: float) -> float:
    """Return how much more memory the last third after the warm-up used than the first third."""
    kilobytes = [sample.kilobytes for sample in samples if sample.seconds >= warm_up_seconds]
    third = max(1, len(kilobytes) // 3)
    if not kilobytes or not kilobytes[0]:
        return 0.0
    first, last = statistics.median(kilobytes[:third]), statistics.median(kilobytes[-third:])
    return (last / first - 1) * 100


def _kilobytes_from_ps(pid: int) -> int:
    ps = shutil.which("ps")
    if ps is None:
        return 0
    result = subprocess.run([ps, "-o", "rss=", "-p", str(pid)], capture_output=True, check=False)
    return int(result.stdout or 0)
