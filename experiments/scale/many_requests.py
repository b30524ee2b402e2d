"""What `servecap run` takes on a trace of very many requests: time, and memory by what it does.

    python experiments/scale/many_requests.py 3000000 10000000 100000000 [--most-in-memory 1000] [--anonymous-gb 8] [--keep DIR]

For each number of requests it writes a trace (the chat load of ``experiments/engine_speed`` on 16 replicas: Parquet, a row
group a million), runs ``servecap run workload.path=...`` in a process of its own and prints a row of README's table. Memory
is read twice a second: resident pages, and of these the process's own (anonymous); the others are pages of files, which the
system may take back. ``--anonymous-gb`` is a limit on the process's own that the system enforces (RLIMIT_DATA): what needs
more ends with an error. Needs 240 bytes a request on the disk of ``TMPDIR`` and of ``--keep`` (default: a temporary folder).
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from sim.forms import form

REPLICAS = 16
RATE_PER_S = 8.0 * REPLICAS
ROWS = 1_000_000
PHASES = ("reading", "running", "summary", "writing", "page")
HEADER = """\
| requests | CPU s | wall s | requests / CPU s of the run | peak MB: reading | running | summary | writing | page | its own memory at the peak |
|---|---|---|---|---|---|---|---|---|---|"""


def write_trace(path: Path, requests: int) -> None:
    """Poisson arrivals at 128/s, lognormal lengths; the rows do not depend on how many follow."""
    began_s = 0.0
    schema = pa.schema({"arrival_s": pa.float64(), "input_tokens": pa.int32(), "output_tokens": pa.int32()})
    with pq.ParquetWriter(path, schema, compression="zstd") as writer:
        for number, low in enumerate(range(0, requests, ROWS)):
            rng, rows = np.random.default_rng((0, number)), min(ROWS, requests - low)
            gaps_s = rng.exponential(1 / RATE_PER_S, ROWS)
            arrival_s = (began_s + np.cumsum(gaps_s))[:rows] if low else np.cumsum(gaps_s)[:rows] - gaps_s[0]
            inputs = np.clip(rng.lognormal(6.3, 1.0, ROWS), 1, 6000).astype(np.int32)[:rows]
            outputs = np.clip(rng.lognormal(4.9, 0.8, ROWS), 2, 1500).astype(np.int32)[:rows]
            began_s = float(arrival_s[-1])
            writer.write_table(pa.table([arrival_s, inputs, outputs], schema=schema))


def memory_mb(pid: int) -> tuple[float, float]:
    """Resident megabytes of a process, and of these its own."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text(encoding="ascii").splitlines()
    except OSError:
        return 0.0, 0.0
    found = {name: value.split()[0] for name, _, value in (line.partition(":") for line in lines) if value.endswith("kB")}
    return int(found.get("VmRSS", 0)) / 1024, int(found.get("RssAnon", 0)) / 1024


def phase_of(folder: Path, told: Path, before: str) -> str:
    """What the run is at, by the files of its folder and its last line of progress (one every ten seconds)."""
    line = told.read_text(encoding="utf-8").rstrip().rpartition("\n")[2]
    if (folder / "requests.parquet").exists():
        return "page"
    if (folder / "replicas.parquet").exists():
        return "writing"
    if "simulated" in line:
        return "running"
    return "summary" if before in ("running", "summary") else "reading"


def measured(trace: Path, folder: Path, most_in_memory: int, anonymous_gb: float | None) -> str:
    """One run, as a row of the table."""
    told = folder.with_suffix(".told")
    command = [
        sys.executable, "-m", "sim", "run", "gpu=h100", f"fleet.replicas={REPLICAS}", f"workload.path={trace}",
        f"output.most_requests_in_memory={most_in_memory}", f"hydra.run.dir={folder}",
    ]  # fmt: skip
    peaks: dict[str, float] = dict.fromkeys(PHASES, 0.0)
    own_mb, phase, began_s, before = 0.0, PHASES[0], time.monotonic(), used_by_children()
    with told.open("w", encoding="utf-8") as out, folder.with_suffix(".csv").open("w", encoding="ascii") as log:
        child = subprocess.Popen(command, stdout=out, stderr=out)
        if anonymous_gb is not None:
            resource.prlimit(child.pid, resource.RLIMIT_DATA, (int(anonymous_gb * 1e9),) * 2)
        while child.poll() is None:
            resident, own = memory_mb(child.pid)
            phase = phase_of(folder, told, phase)
            peaks[phase], own_mb = max(peaks[phase], resident), max(own_mb, own)
            print(f"{time.monotonic() - began_s:.1f},{phase},{resident:.0f},{own:.0f}", file=log, flush=True)
            time.sleep(0.5)
    if child.returncode:
        raise SystemExit(f"servecap run ended with {child.returncode}:\n{told.read_text(encoding='utf-8')[-2000:]}")
    requests = pq.ParquetFile(trace).metadata.num_rows
    simulated = json.loads((folder / "summary.json").read_text(encoding="utf-8"))["simulation"]["cpu_s"]
    cpu_s = used_by_children() - before
    seen = " | ".join(f"{peaks[name]:,.0f}" for name in PHASES)
    return (
        f"| {requests:,} | {cpu_s:,.0f} | {time.monotonic() - began_s:,.0f} | {requests / simulated:,.0f} | {seen} "
        f"| {own_mb:,.0f} |"
    )


def used_by_children() -> float:
    """CPU seconds of the runs so far."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def main() -> None:
    parser = argparse.ArgumentParser(description="memory and time of runs of very many requests")
    parser.add_argument("requests", type=int, nargs="+", help="how many; a run each")
    parser.add_argument("--most-in-memory", type=int, default=1000, help="output.most_requests_in_memory")
    parser.add_argument("--anonymous-gb", type=float, help="the most that the process may have of its own")
    parser.add_argument("--keep", type=Path, metavar="DIR", help="where traces, runs and the log of memory stay")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        place = asked.keep or Path(temporary)
        place.mkdir(parents=True, exist_ok=True)
        print(f"servecap {form()}, {time.strftime('%Y-%m-%d %H:%M')}, load {os.getloadavg()[0]:.1f}\n\n{HEADER}", flush=True)
        for requests in asked.requests:
            trace = place / f"{requests}.parquet"
            if not trace.exists():
                write_trace(trace, requests)
            print(measured(trace, place / f"run_{requests}", asked.most_in_memory, asked.anonymous_gb), flush=True)


if __name__ == "__main__":
    main()
