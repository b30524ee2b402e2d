"""``servecap report DIR``: write the page of a run folder, or the answer of a sweep folder, again from stored results."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from sim.cli.folder_claim import claimed
from sim.cli.stored_run import missing_of_run, stored_result, write_page
from sim.cli.sweep import finish_sweep
from sim.errors import ConfigError, reading
from sim.record import Result
from sim.report import write_text
from sim.report.openmetrics import dashboard, metrics_of, openmetrics
from sim.report.run_folder import json_text

STDOUT = "-"


def main(argv: Sequence[str]) -> int:
    """Rewrite what belongs to the folder named in ``argv``; returns the exit code."""
    parser = argparse.ArgumentParser(prog="servecap report", description=__doc__)
    parser.add_argument("folder", type=Path, help="a run folder or a sweep folder")
    parser.add_argument("--json", action="store_true", help="one JSON object: the answer of a sweep, the summary of a run")
    parser.add_argument(
        "--prometheus", metavar="FILE", help="write a run as OpenMetrics text under vLLM's metric names; -: standard output"
    )
    parser.add_argument("--start", type=float, metavar="UNIX_S", help="when that run began (default: so that it ends now)")
    parser.add_argument("--grafana", metavar="FILE", help="write the Grafana dashboard that shows them; -: likewise")
    options = parser.parse_args(list(argv))
    if options.start is not None and options.prometheus is None:
        raise ConfigError("--start: dates the samples of --prometheus, which is not asked for")
    if [options.prometheus, options.grafana, "-" if options.json else None].count("-") > 1:
        raise ConfigError("--prometheus, --grafana and --json: standard output holds one of them")
    folder: Path = options.folder
    if not folder.is_dir():
        raise ConfigError(f"{folder}: no such folder; runs lie in outputs/DATE/TIME, sweeps in multirun/DATE/TIME")
    if any(folder.glob("*/job.json")):
        if options.prometheus is not None:
            raise ConfigError(f"{folder}: --prometheus writes one run; name a job's folder, e.g. {folder / '0'}")
        with claimed(folder), reading(folder, "a sweep folder"):
            return finish_sweep(folder, as_json=options.json)
    missing = missing_of_run(folder)
    if missing:
        raise ConfigError(f"{folder}: neither a sweep folder nor a complete run folder ({', '.join(missing)} missing)")
    with reading(folder, "a run folder"):
        result, summary = stored_result(folder)
        write_page(folder, result, summary)
    asked = _metrics(options, result)
    told = sys.stderr if options.json or STDOUT in asked else sys.stdout
    for file, words in asked.items():
        if file == STDOUT:
            print(words, end="")
        else:
            write_text(Path(file), words)
            print(f"Written to {file}", file=told)
    if options.json:
        print(json_text(summary))
    else:
        print(f"Written to {folder / 'report.html'}", file=told)
    return 0


def _metrics(options: argparse.Namespace, result: Result) -> dict[str, str]:
    """What ``--prometheus`` and ``--grafana`` ask for, by file."""
    found: dict[str, str] = {}
    if options.prometheus is not None:
        start_s = time.time() - result.end_s if options.start is None else options.start
        found[options.prometheus] = openmetrics(metrics_of(result, start_s), result.scenario.model.name)
    if options.grafana is not None:
        found[options.grafana] = dashboard()
    return found
