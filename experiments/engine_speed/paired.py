"""Two builds of servecap by turns on the same load: how much slower is one than the other, and how sure is that?

A pair is one run of each, in processes of their own, one behind the other; every second pair begins with the other build. So
whatever else the machine does meets both. Each run is warmed up by a small one and repeated; its time is the least, process
CPU of ``simulate`` and ``summarize``. The interval of the median ratio is that of its order statistics (distribution-free).
"""

from __future__ import annotations

import json
import statistics
import subprocess
from collections.abc import Mapping
from math import comb
from pathlib import Path
from typing import NamedTuple

import numpy as np

from sim.workload import Trace

CONFIDENCE = 0.95
_REPEATED = 5
_RUN = """
import json, sys, time
from importlib.resources import files
import numpy as np, yaml
from sim.analysis import summarize
from sim.run import simulate
from sim.spec import parse_scenario
from sim.workload import Trace
def preset(name):
    return yaml.safe_load((files("sim.configs") / f"{name}.yaml").read_text())
columns = np.load(sys.argv[1])
trace = Trace(columns["arrival_s"], columns["input_tokens"], columns["output_tokens"])
asked = parse_scenario({
    "model": preset("model/llama3_8b"), "gpu": preset("gpu/h100"), "fleet": {"replicas": int(sys.argv[2])},
    "gateway": {"router": {"kind": "least_tokens_in_flight"}}, "workload": {"packaged": "unused"},
})
few = 300
summarize(simulate(asked, Trace(trace.arrival_s[:few], trace.input_tokens[:few], trace.output_tokens[:few])))
seconds = []
for _ in range(int(sys.argv[3])):
    begin = time.process_time()
    result = simulate(asked, trace)
    between = time.process_time()
    summarize(result)
    seconds.append((time.process_time() - begin, between - begin))
print(json.dumps(min(seconds)))
"""


class Pairs(NamedTuple):
    """Medians over the pairs."""

    rates: tuple[float, float]
    """Requests a CPU second: of this build, and of the other."""
    summarize_s: tuple[float, float]
    """Of these CPU seconds, those of ``summarize``."""
    ratio: float
    """Time of this build over the other's."""
    low: float
    high: float


def paired(pythons: tuple[Path, Path], trace: Trace, file: Path, replicas: int, runs: int) -> Pairs:
    """``runs`` pairs of this build's and another's Python on ``trace``, which is written to ``file`` for both."""
    columns: Mapping[str, np.ndarray] = {
        "arrival_s": trace.arrival_s, "input_tokens": trace.input_tokens, "output_tokens": trace.output_tokens,
    }  # fmt: skip
    np.savez(file, **columns)
    pairs = []
    for pair in range(runs):
        order = (0, 1) if pair % 2 == 0 else (1, 0)
        seconds = {build: _seconds(pythons[build], file, replicas) for build in order}
        pairs.append((seconds[0], seconds[1]))
    ratios = sorted(ours[0] / other[0] for ours, other in pairs)
    low, high = interval(len(ratios))
    whole = [statistics.median(pair[build][0] for pair in pairs) for build in (0, 1)]
    after = [statistics.median(pair[build][0] - pair[build][1] for pair in pairs) for build in (0, 1)]
    rates = (len(trace) / whole[0], len(trace) / whole[1])
    return Pairs(rates, (after[0], after[1]), statistics.median(ratios), ratios[low], ratios[high])


def interval(n: int) -> tuple[int, int]:
    """Places, from 0, of the order statistics of ``n`` that enclose the median with at least ``CONFIDENCE``; the outermost
    where so few cannot."""
    place, outside = 0, 2 / 2**n
    while place + 1 < n // 2 and outside + 2 * comb(n, place + 1) / 2**n <= 1 - CONFIDENCE:
        place += 1
        outside += 2 * comb(n, place) / 2**n
    return place, n - 1 - place


def _seconds(python: Path, file: Path, replicas: int) -> tuple[float, float]:
    """CPU seconds of a run of ``python``'s build, and those of its ``simulate``."""
    ran = subprocess.run(
        [python, "-c", _RUN, file, str(replicas), str(_REPEATED)], check=True, capture_output=True, text=True, cwd=file.parent
    )
    whole, simulated = json.loads(ran.stdout.splitlines()[-1])
    return float(whole), float(simulated)
