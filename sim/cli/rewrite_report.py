"""``servecap report DIR``: write the page of a run folder, or the answer of a sweep folder, again from stored results."""

from __future__ import annotations

import argparse
import math
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from sim.cli.folder_claim import claimed
from sim.cli.search_table import load_section_of
from sim.cli.stored import stored_cost, stored_events, stored_frame, stored_manifest, stored_scenario, stored_summary
from sim.cli.sweep import finish_sweep
from sim.errors import ConfigError, reading
from sim.record.result import ItlHistogram, Result
from sim.report import write_report_html, write_text
from sim.report.openmetrics import dashboard, metrics_of, openmetrics
from sim.report.run_folder import json_text

_NEEDED = (
    "config.yaml",
    "summary.json",
    "cost.json",
    "events.jsonl",
    "requests.parquet",
    "timeseries.parquet",
    "replicas.parquet",
)


def main(argv: Sequence[str]) -> int:
    """Rewrite what belongs to the folder named in ``argv``; returns the exit code."""
    parser = argparse.ArgumentParser(prog="servecap report", description=__doc__)
    parser.add_argument("folder", type=Path, help="a run folder or a sweep folder")
    parser.add_argument("--json", action="store_true", help="one JSON object: the answer of a sweep, the summary of a run")
    parser.add_argument(
        "--prometheus", metavar="FILE", type=Path, help="write a run as OpenMetrics text under vLLM's metric names"
    )
    parser.add_argument("--start", type=float, metavar="UNIX_S", help="when that run began (default: so that it ends now)")
    parser.add_argument("--grafana", metavar="FILE", type=Path, help="write the Grafana dashboard that shows these metrics")
    options = parser.parse_args(list(argv))
    folder: Path = options.folder
    if not folder.is_dir():
        raise ConfigError(f"{folder}: no such folder; runs lie in outputs/DATE/TIME, sweeps in multirun/DATE/TIME")
    if any(folder.glob("*/job.json")):
        if options.prometheus is not None:
            raise ConfigError(f"{folder}: --prometheus writes one run; name a job's folder, e.g. {folder / '0'}")
        with claimed(folder), reading(folder, "a sweep folder"):
            return finish_sweep(folder, as_json=options.json)
    missing = [name for name in _NEEDED if not (folder / name).is_file()]
    if missing:
        raise ConfigError(f"{folder}: neither a sweep folder nor a complete run folder ({', '.join(missing)} missing)")
    with reading(folder, "a run folder"):
        result, summary = stored_result(folder)
        tree = stored_cost(folder)
        command = str(stored_manifest(folder).get("decide", "servecap decide"))
        extra = load_section_of(folder, result, summary)
        write_report_html(folder, result, summary, tree, extra=extra, command=command)
    for path, words in _metrics(options, result).items():
        write_text(path, words)
        print(f"Written to {path}", file=sys.stderr if options.json else sys.stdout)
    print(json_text(summary) if options.json else f"Written to {folder / 'report.html'}")
    return 0


def _metrics(options: argparse.Namespace, result: Result) -> dict[Path, str]:
    """What ``--prometheus`` and ``--grafana`` ask for, by file."""
    found: dict[Path, str] = {}
    if options.prometheus is not None:
        start_s = time.time() - result.end_s if options.start is None else options.start
        found[options.prometheus] = openmetrics(metrics_of(result, start_s), result.scenario.model.name)
    if options.grafana is not None:
        found[options.grafana] = dashboard()
    return found


def stored_result(folder: Path) -> tuple[Result, dict[str, Any]]:
    """The result that a run folder holds, and its summary. The ITL histogram is not stored: its quantiles are in the
    summary."""
    summary = stored_summary(folder)
    scenario = stored_scenario(folder)
    requests = stored_frame(folder / "requests.parquet", ("arrival_s", "outcome"))
    events = stored_events(folder)
    simulation = summary["simulation"]
    result = Result(
        scenario=scenario,
        requests=requests,
        replicas=stored_frame(folder / "replicas.parquet"),
        timeseries=stored_frame(folder / "timeseries.parquet"),
        ranks=stored_frame(folder / "ranks.parquet") if (folder / "ranks.parquet").is_file() else None,
        tiers=stored_frame(folder / "tiers.parquet") if (folder / "tiers.parquet").is_file() else None,
        features=stored_frame(folder / "features.parquet") if (folder / "features.parquet").is_file() else None,
        events=events,
        itl=ItlHistogram(np.array([1e-3, 1e-2]), np.array([0])),
        end_s=simulation["simulated_s"],
        last_arrival_s=float(requests["arrival_s"].max()) if len(requests) else math.nan,
        engine_steps=simulation["engine_steps"],
        kernel_events=simulation["kernel_events"],
        wall_s=simulation["wall_s"],
        cpu_s=simulation["cpu_s"],
        stopped_early=summary["slo"].get("stopped_early"),
    )
    return result, summary
