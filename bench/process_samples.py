"""Memory and open files of another process, as far as the platform tells them."""

import shutil
import statistics
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple


class Sample(NamedTuple):
    """One look at a process.

    Attributes:
        seconds: since the start of the load.
        kilobytes: of memory that it holds (RSS); 0 where nobody tells.
        files: how many it holds open; 0 where nobody tells.
    """

    seconds: float
    kilobytes: int
    files: int


def sample(pid: int, began: float) -> Sample:
    """How the process is now; `began` is on the monotonic clock."""
    seconds = time.monotonic() - began
    folder = Path(f"/proc/{pid}")
    if not folder.exists():
        return Sample(seconds, _kilobytes_by_ps(pid), 0)
    lines = (folder / "status").read_text().splitlines()
    held = next(line for line in lines if line.startswith("VmRSS:"))
    return Sample(seconds, int(held.split()[1]), len(list((folder / "fd").iterdir())))


def growth_percent(samples: Sequence[Sample], warm_up_seconds: float) -> float:
    """How much more memory the last third of the time after the warm-up needed than the first."""
    warm = [it.kilobytes for it in samples if it.seconds >= warm_up_seconds]
    third = max(1, len(warm) // 3)
    if not warm or not warm[0]:
        return 0.0
    first, last = statistics.median(warm[:third]), statistics.median(warm[-third:])
    return (last / first - 1) * 100


def _kilobytes_by_ps(pid: int) -> int:
    ps = shutil.which("ps")
    if ps is None:
        return 0
    told = subprocess.run([ps, "-o", "rss=", "-p", str(pid)], capture_output=True, check=False)
    return int(told.stdout or 0)
