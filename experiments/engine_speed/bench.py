"""How fast the simulator is: the benchmark's tables, and what skipping costs against stepping.

    python experiments/engine_speed/bench.py --all [--mooncake FILE] [--write]

prints every table of this README (about 6 minutes on two quiet cores); ``--write`` puts what is printed into the READMEs.
Single tables, in any combination:

    --rows            from a thousand requests to a million (the default); --quick: up to 10,000
    --peers           beside NVIDIA's AISimulate, run by run (see peers.py)
    --fleet           1,024 and 4,096 replicas, 100 requests each; 4,096 in 64 cells; one of 64 replicas, a million requests
    --gateway         a full gateway against the bare one; the week
    --mooncake FILE   prefix caching on Mooncake's conversation trace
    --autoscaled      a fleet that scales against a static one
    --disaggregated   prefill and decode apart, and ranks in lock step, beside the bare rate (see apart.py)
    --picture         cost a request over output length, stepped and skipped
    --commands        what --help, calc and size take, start to end (see commands.py)
    --month           the same of the size of a month, 1.4 million requests (3 to 4 minutes)
    --large N ...     so many requests: time and memory (2 minutes for ten million)
    --against PYTHON  beside another build of servecap, by turns (see paired.py)

Load: Llama-3.1-8B on H100, vLLM's defaults, Poisson 8/s a replica, lognormal(6.3, 1) input clipped to 1-6,000,
lognormal(4.9, 0.8) output clipped to 2-1,500; records on. CPU seconds are the process's, of ``simulate`` and ``summarize``
after a small run that warms it up. Every row is the median of its runs, each in a fresh process (for the peak memory).
``servecap --version`` of the environment whose Python this is says the form; ``SERVECAP_PURE=1`` measures the sources.
"""

from __future__ import annotations

import argparse
import io
import multiprocessing
import os
import resource
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import redirect_stdout
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import joblib
import numpy as np
import yaml

from sim.analysis import summarize
from sim.forms import SWITCH, form
from sim.run import simulate
from sim.spec import Scenario, parse_scenario, scenario_to_dict
from sim.workload import Trace, load_workload

HERE = Path(__file__).parent
CONFIGS = HERE.parents[1] / "configs"
RATE_PER_REPLICA_S = 8.0


class Row(NamedTuple):
    requests: int
    replicas: int
    cpu_s: float
    engine_steps: int
    kernel_events: int
    peak_mb: float
    hit_rate: float


def preset(name: str) -> dict[str, Any]:
    return dict(yaml.safe_load((CONFIGS / f"{name}.yaml").read_text()))


def scenario(
    replicas: int, workload: dict[str, Any], router: str = "least_tokens_in_flight", cells: int = 1
) -> Scenario:
    return parse_scenario(
        {
            "model": preset("model/llama3_8b"),
            "gpu": preset("gpu/h100"),
            "fleet": {"replicas": replicas, "cells": cells},
            "gateway": {"router": {"kind": router}},
            "workload": workload,
        }
    )


def load(requests: int, replicas: int, output_tokens: int | None = None) -> Trace:
    """The benchmark load; ``output_tokens`` makes every answer as long."""
    rng = np.random.default_rng(0)
    arrival_s = np.cumsum(rng.exponential(1 / (RATE_PER_REPLICA_S * replicas), requests))
    inputs = np.clip(rng.lognormal(6.3, 1.0, requests), 1, 6000).astype(int)
    outputs = np.clip(rng.lognormal(4.9, 0.8, requests), 2, 1500).astype(int)
    if output_tokens is not None:
        outputs = np.full(requests, output_tokens)
    return Trace(arrival_s - arrival_s[0], inputs, outputs)


def measure(asked: Scenario, trace: Trace) -> Row:
    summarize(simulate(scenario(1, {"packaged": "unused"}), load(300, 1)))
    begin_s = time.process_time()
    result = simulate(asked, trace)
    summarize(result)
    cpu_s = time.process_time() - begin_s
    peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    servers = result.replicas
    hit_rate = servers["prefix_hits_tokens"].sum() / servers["prefix_queries_tokens"].sum()
    return Row(
        len(trace), len(servers), cpu_s, result.engine_steps, result.kernel_events, peak_mb, float(hit_rate)
    )


def synthetic_row(requests: int, replicas: int, cells: int = 1) -> Row:
    with joblib.parallel_config(backend="sequential"):  # cells one after another: CPU seconds are this process's
        return measure(scenario(replicas, {"packaged": "unused"}, cells=cells), load(requests, replicas))


def mooncake_row(path: str, router: str) -> Row:
    asked = scenario(4, {**preset("workload/mooncake_conversation"), "path": path}, router)
    return measure(asked, load_workload(asked.workload, 0))


def median_row(runs: int, function: Any, *arguments: Any) -> Row:
    context = multiprocessing.get_context("spawn")
    rows = []
    for _ in range(runs):
        with context.Pool(1) as pool:
            rows.append(pool.apply(function, arguments))
    return sorted(rows, key=lambda row: row.cpu_s)[len(rows) // 2]


def form_row(pure: bool, requests: int, replicas: int) -> Row:
    """One run of the installed form, or of its sources, in a process of its own."""
    before = os.environ.get(SWITCH)
    os.environ[SWITCH] = "1" if pure else "0"
    try:
        return median_row(1, synthetic_row, requests, replicas)
    finally:
        os.environ.pop(SWITCH)
        if before is not None:
            os.environ[SWITCH] = before


def side_by_side(runs: int, peer_python: str | None) -> None:
    """The peer and both forms by turns, so that all meet the same machine; medians, and ratios of medians."""
    import peers

    both = form() == "compiled"
    with tempfile.TemporaryDirectory() as folder:
        python = Path(peer_python) if peer_python else peers.install(Path(folder) / "peer")
        print("| requests | replicas | peer | servecap compiled | of the peer | servecap pure | of the peer |")
        print("|---|---|---|---|---|---|---|")
        for requests, replicas in ((10_000, 1), (100_000, 1), (10_000, 16), (100_000, 16)):
            file = Path(folder) / f"{requests}_{replicas}.jsonl"
            peers.write_mooncake(load(requests, replicas), file)
            seconds: dict[str, list[float]] = {"peer": [], "compiled": [], "pure": []}
            for _ in range(runs):
                seconds["peer"].append(peers.peer_cpu_s(python, file, replicas))
                seconds["pure"].append(form_row(True, requests, replicas).cpu_s)
                if both:
                    seconds["compiled"].append(form_row(False, requests, replicas).cpu_s)
            rate = {name: requests / statistics.median(s) if s else float("nan") for name, s in seconds.items()}
            ours = " | ".join(f"{rate[name]:,.0f} | {rate[name] / rate['peer']:.2f}" for name in ("compiled", "pure"))
            print(f"| {requests:,} | {replicas} | {rate['peer']:,.0f} | {ours} |", flush=True)


def against(python: str, runs: int) -> None:
    """This build and the one of another environment by turns."""
    from paired import CONFIDENCE, paired

    print(f"servecap {form()} against {python}; {runs} pairs; medians, process CPU of simulate and summarize")
    print("| requests | replicas | requests / CPU s | the other | of it summarize, ms | the other | "
          f"time of the other's | {CONFIDENCE:.0%} |\n|---|---|---|---|---|---|---|---|")  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        for requests, replicas in ((10_000, 1), (50_000, 16)):
            file = Path(folder) / f"{requests}.npz"
            found = paired((Path(sys.executable), Path(python)), load(requests, replicas), file, replicas, runs)
            rates = " | ".join(f"{rate:,.0f}" for rate in found.rates)
            after = " | ".join(f"{seconds * 1000:.1f}" for seconds in found.summarize_s)
            print(f"| {requests:,} | {replicas} | {rates} | {after} | {found.ratio:.3f} | {found.low:.3f}-{found.high:.3f} |",
                  flush=True)  # fmt: skip


def preset_row(requests: int | None, *overrides: str) -> Row:
    """A run of the packaged configuration; on the benchmark's load of so many requests, or on its own."""
    from sim.cli.compose import composed_scenario
    from sim.workload.timeline import load_trace

    asked = composed_scenario(overrides)
    return measure(asked, load(requests, asked.fleet.replicas) if requests is not None else load_trace(asked))


def gateways() -> None:
    """What policies cost."""
    fleet = ("gpu=h100", "fleet.replicas=16")
    asked = [(f"gateway={name}", 3, preset_row, 50_000, *fleet, f"gateway={name}") for name in ("plain", "full")]
    bare, full, _ = print_rows([*asked, ("experiment=week", 1, preset_row, None, "experiment=week")])
    print(f"\nA full gateway (timeouts, retries with a budget, caches, limits) costs {full.cpu_s / bare.cpu_s:.2f} times the "
          "bare run.")  # fmt: skip


HEADER = """\
| load | requests | replicas | CPU s | requests / CPU s | engine steps / CPU s | events / request | peak MB |
|---|---|---|---|---|---|---|---|"""


def print_rows(asked: Iterable[tuple[Any, ...]]) -> list[Row]:
    """A table; each row is ``median_row`` of what follows its name."""
    print(HEADER)
    return [print_row(name, median_row(*arguments)) for name, *arguments in asked]


def print_row(name: str, row: Row) -> Row:
    print(
        f"| {name} | {row.requests:,} | {row.replicas} | {row.cpu_s:.2f} | {row.requests / row.cpu_s:,.0f} "
        f"| {row.engine_steps / row.cpu_s:,.0f} | {row.kernel_events / row.requests:.2f} | {row.peak_mb:,.0f} |",
        flush=True,
    )
    return row


def rows(quick: bool) -> None:
    """From a thousand requests to a million."""
    sizes = [(1_000, 1, 5), (10_000, 1, 5), (10_000, 16, 5)]
    if not quick:
        sizes += [(100_000, 1, 3), (100_000, 16, 3), (1_000_000, 1, 1)]
    print_rows(("synthetic", runs, synthetic_row, requests, replicas) for requests, replicas, runs in sizes)


def mooncake(file: str) -> None:
    """Prefix caching."""
    print(HEADER)
    for router in ("session_affinity", "sglang_cache_aware"):
        row = median_row(3, mooncake_row, file, router)
        print_row(f"mooncake, {router} ({row.hit_rate:.1%} hit)", row)


def fleets() -> None:
    """Large fleets, in one cell and in many; one such cell for longer."""
    sizes = ((102_400, 1024, 1), (409_600, 4096, 1), (409_600, 4096, 64), (1_000_000, 64, 1))
    print_rows(
        (f"synthetic, {cells} cell{'s' * (cells > 1)}", 1, synthetic_row, requests, replicas, cells)
        for requests, replicas, cells in sizes
    )


def large(sizes: Sequence[int]) -> None:
    """Many requests: time and memory."""
    print_rows(("synthetic", 1, synthetic_row, requests, 16) for requests in sizes)


def breathing_load(requests: int, replicas: int) -> Trace:
    """The benchmark load for ``replicas`` on the average, its rate between half and one and a half of that, every ten
    minutes."""
    steady = load(requests, replicas)
    times = np.linspace(0, float(steady.arrival_s[-1]), 20_000)
    passed = times + 300 / np.pi * (1 - np.cos(2 * np.pi * times / 600)) / 2  # integral of 1 + sin / 2
    return Trace(np.interp(steady.arrival_s, passed, times), steady.input_tokens, steady.output_tokens)


def breathing_row(kind: str, replicas: int) -> tuple[Row, float]:
    """A fleet under ``kind`` ("none" = static); with its mean number of paid replicas."""
    data = scenario_to_dict(scenario(replicas, {"packaged": "unused"}))
    data["autoscaler"] = {"kind": kind} if kind == "none" else {"kind": kind, "target": 12.0}
    data["fleet"]["cold_start"] = {"provisioning": {"kind": "constant", "seconds": 20.0}, "weights_gib_per_s": 2.0}
    trace = breathing_load(60_000, 16)
    result = simulate(parse_scenario(data), trace)
    servers = result.replicas
    paid_s = float((servers["billed_stop_s"].clip(upper=result.end_s) - servers["billed_start_s"]).sum())
    row = Row(len(trace), len(servers), result.cpu_s, result.engine_steps, result.kernel_events, 0.0, 0.0)
    return row, paid_s / result.end_s


def autoscaled() -> None:
    """Autoscaled fleets, each beside the static one that is paid for as long; pairs of one process, medians of five."""
    print("| load | requests | replicas, mean | CPU s | static, CPU s | ratio |\n|---|---|---|---|---|---|")
    for kind in ("requests_in_flight", "hpa_v2", "knative_kpa"):
        _, mean = breathing_row(kind, 16)
        pairs = [(breathing_row(kind, 16)[0].cpu_s, breathing_row("none", round(mean))[0].cpu_s) for _ in range(5)]
        ratio = statistics.median(scaled / static for scaled, static in pairs)
        scaled, static = (statistics.median(times) for times in zip(*pairs, strict=True))
        print(f"| autoscaled fleet, {kind} | 60,000 | {mean:.1f} | {scaled:.2f} | {static:.2f} | {ratio:.2f} |", flush=True)


def picture() -> None:
    """CPU microseconds a request, stepped and skipped, over the (constant) output length at a request every 4 seconds."""
    from sim.report.chart import Chart, Series
    from sim.report.pictures import standalone

    lengths = [16, 32, 64, 128, 256, 512, 1024]
    asked = scenario(1, {"packaged": "unused"})
    stepped = replace(asked, engine=replace(asked.engine, skip_decode=False))
    costs: dict[str, list[float]] = {"stepped": [], "skipped": []}
    print("| output tokens | stepped us / request | skipped us / request |\n|---|---|---|")
    for tokens in lengths:
        trace = load(300, 1, tokens)
        trace = Trace(trace.arrival_s * 32, trace.input_tokens, trace.output_tokens)
        for name, question in (("stepped", stepped), ("skipped", asked)):
            cpu_s = statistics.median(simulate(question, trace).cpu_s for _ in range(5))
            costs[name].append(cpu_s / len(trace) * 1e6)
        print(f"| {tokens} | {costs['stepped'][-1]:.0f} | {costs['skipped'][-1]:.0f} |", flush=True)
    chart = Chart(
        "CPU time a request over output length", "output tokens a request", "CPU microseconds a request",
        [Series(name, lengths, costs[name], colour=place) for place, name in enumerate(costs)],
        f"From {lengths[0]} to {lengths[-1]:,} output tokens a request's CPU time goes from {costs['stepped'][0]:,.0f} to "
        f"{costs['stepped'][-1]:,.0f} microseconds stepped, and from {costs['skipped'][0]:,.0f} to "
        f"{costs['skipped'][-1]:,.0f} skipped.",
        x_log=True, y_log=True, x_ticks=lengths,
    )  # fmt: skip
    (HERE / "skipped.svg").write_text(standalone(chart), encoding="utf-8")


class Both(io.StringIO):
    """What is printed while a table is made: shown at once, and kept."""

    def write(self, text: str) -> int:
        sys.__stdout__.write(text)
        sys.__stdout__.flush()
        return super().write(text)


def write_down(name: str, made: str) -> None:
    """Put a table into the README that has its place, with the form, the day and the machine's load."""
    sys.path.insert(0, str(HERE.parent))
    from results import put_between

    readme = (HERE.parent / "scale" if name in ("month", "large") else HERE) / "README.md"
    begin, end = f"<!-- {name}: written by bench.py -->", f"<!-- end of {name} -->"
    put_between(readme, begin, end, f"{made.strip()}\n\n({conditions()}.)")


def conditions() -> str:
    return f"{form().capitalize()}, {time.strftime('%Y-%m-%d')}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}"


def main() -> None:
    import apart
    import commands

    parser = argparse.ArgumentParser(description="speed of the simulator")
    parser.add_argument("--all", action="store_true", help="every table but --month, --large and --against")
    parser.add_argument("--write", action="store_true", help="put the tables into the READMEs, too")
    parser.add_argument("--rows", action="store_true", help="from a thousand requests to a million")
    parser.add_argument("--quick", action="store_true", help="--rows up to 10,000 requests")
    parser.add_argument("--peers", action="store_true", help="beside AISimulate, installed in a throw-away environment")
    parser.add_argument("--peer-python", metavar="PYTHON", help="of an environment that already has the peer")
    parser.add_argument("--fleet", action="store_true", help="1,024 and 4,096 replicas")
    parser.add_argument("--gateway", action="store_true", help="what policies cost")
    parser.add_argument("--mooncake", metavar="FILE", help="Mooncake's conversation_trace.jsonl")
    parser.add_argument("--autoscaled", action="store_true", help="a fleet that scales against a static one")
    parser.add_argument("--disaggregated", action="store_true", help="1P1D and ranks in lock step beside the bare rate")
    parser.add_argument("--picture", action="store_true", help="skipped against stepped; draws skipped.svg")
    parser.add_argument("--commands", action="store_true", help="--help, calc and size, start to end")
    parser.add_argument("--month", action="store_true", help="size of a month of 1.4 million requests")
    parser.add_argument("--large", metavar="N", type=int, nargs="+", help="so many requests")
    parser.add_argument("--against", metavar="PYTHON", help="of an environment with another build, by turns with this one")
    parser.add_argument("--runs", type=int, help="of every row of --peers (default 3), of --disaggregated (5), pairs of --against (15)")
    asked = vars(parser.parse_args())
    tables: dict[str, tuple[str, Callable[[], None]]] = {
        "peers": ("Beside AISimulate", lambda: side_by_side(asked["runs"] or 3, asked["peer_python"])),
        "rows": ("From a thousand requests to a million", lambda: rows(asked["quick"])),
        "fleet": ("Large fleets", fleets),
        "gateway": ("Policies", gateways),
        "mooncake": ("Prefix caching", lambda: mooncake(asked["mooncake"])),
        "autoscaled": ("A fleet that scales", autoscaled),
        "disaggregated": ("Prefill and decode apart, ranks in lock step", lambda: apart.table(asked["runs"] or 5)),
        "picture": ("Skipped against stepped", picture),
        "commands": ("Whole commands", lambda: commands.table(3, "--help", "calc", "size")),
        "month": ("A month", lambda: commands.table(1, "size workload=office_month_synthetic")),
        "large": ("Many requests", lambda: large(asked["large"])),
        "against": ("Beside another build", lambda: against(asked["against"], asked["runs"] or 15)),
    }
    single = [name for name in tables if asked[name]]
    if asked["all"]:
        single += [name for name in tables if name not in ("mooncake", "month", "large", "against")]
    print(conditions())
    for name, (title, show) in tables.items():
        if name in single or (name == "rows" and not single):
            print(f"\n## {title}\n", flush=True)
            with redirect_stdout(Both()) as made:
                show()
            if asked["write"] and name != "against":
                write_down(name, made.getvalue())


if __name__ == "__main__":
    main()
