"""What a whole command takes, start to end: CPU of it and of all its processes, wall time beside the machine's load, memory."""

from __future__ import annotations

import multiprocessing
import os
import resource
import subprocess
import sys
import tempfile
import time
from typing import NamedTuple


class Taken(NamedTuple):
    cpu_s: float
    wall_s: float
    peak_mb: float
    """Of the largest process."""


def taken(*argv: str) -> Taken:
    """``servecap argv`` in a process of its own."""
    before, begin_s = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run([sys.executable, "-m", "sim", *argv], cwd=folder, check=True, capture_output=True)
    wall_s, after = time.perf_counter() - begin_s, resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Taken(cpu_s, wall_s, after.ru_maxrss / 1024)


def _alone(line: str) -> Taken:
    """In a fresh parent: the peak of children is that of all that a process ever had."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(taken, line.split())


def table(runs: int, *lines: str) -> None:
    """The median of ``runs`` of each command."""
    print(f"| command | CPU s | wall s, {os.cpu_count()} cores | load of the machine | peak MB |\n|---|---|---|---|---|")
    for line in lines:
        found = sorted(_alone(line) for _ in range(runs))[runs // 2]
        load = os.getloadavg()[0]
        print(
            f"| `servecap {line}` | {found.cpu_s:.2f} | {found.wall_s:.1f} | {load:.1f} | {found.peak_mb:,.0f} |", flush=True
        )
