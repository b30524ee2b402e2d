"""``servecap compare A B [...]``: run folders or override sets side by side, each against the first.

Override sets are simulated on the same arrivals under the same seed, so that the traffic is no part of the difference.
Where something in them is random, ``--seeds N`` repeats both sides under N shared seeds for an interval of dollars and
throughput, which are one number a run otherwise.
"""

from __future__ import annotations

import argparse
import json
import shlex
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd
from rich.console import Console
from rich.table import Table

from sim.analysis import price, summarize
from sim.analysis.compare import Difference, compare_requests, compare_summaries
from sim.cli.compose import composed_scenario
from sim.errors import ConfigError
from sim.report import write_json
from sim.run import simulate


@dataclass(frozen=True)
class Side:
    """One thing compared."""

    name: str
    requests: pd.DataFrame
    """Of the first seed."""
    summaries: list[dict[str, Any]]
    """One a seed."""


def main(argv: Sequence[str]) -> int:
    """Compare and print; returns the exit code."""
    arguments = _parser().parse_args(list(argv))
    if len(arguments.sides) < 2:
        raise ConfigError(f"compare needs two or more run folders or override sets, but got {len(arguments.sides)}")
    sides = [_side(text, arguments.seeds) for text in arguments.sides]
    first = sides[0]
    found = {side.name: differences(first, side) for side in sides[1:]}
    for side in sides[1:]:
        _print(first.name, side.name, found[side.name])
    if arguments.json:
        rows = {name: [asdict(one) | {"words": one.words()} for one in differing] for name, differing in found.items()}
        write_json(Path(arguments.json), {"base": first.name, "against": rows})
    return 0


def differences(a: Side, b: Side) -> list[Difference]:
    """``b`` against ``a``: latencies request by request, then the run-level numbers."""
    return [*compare_requests(a.requests, b.requests), *compare_summaries(a.summaries, b.summaries)]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="servecap compare", description=__doc__)
    parser.add_argument("sides", nargs="*", help='run folders, or override sets such as "gpu=h100 fleet.replicas=3"')
    parser.add_argument("--seeds", type=int, default=1, help="replications of each override set under shared seeds")
    parser.add_argument("--json", help="also write the differences to this file")
    return parser


def _side(text: str, seeds: int) -> Side:
    folder = Path(text)
    if folder.is_dir():
        return _stored(folder)
    if text and "=" not in text:
        raise ConfigError(f"{text}: neither a run folder nor overrides (key=value)")
    scenario = composed_scenario(shlex.split(text))
    runs = [simulate(replace(scenario, seed=scenario.seed + number)) for number in range(max(1, seeds))]
    summaries = [summarize(run, cost=price(run)) for run in runs]
    return Side(text or "(defaults)", runs[0].requests, summaries)


def _stored(folder: Path) -> Side:
    missing = [name for name in ("summary.json", "requests.parquet") if not (folder / name).is_file()]
    if missing:
        raise ConfigError(f"{folder}: not a complete run folder, {' and '.join(missing)} missing")
    summary = json.loads((folder / "summary.json").read_text(encoding="utf-8"))
    return Side(str(folder), pd.read_parquet(folder / "requests.parquet"), [summary])


def _print(base: str, other: str, found: Sequence[Difference]) -> None:
    table = Table(title=f"{other}  against  {base}", title_justify="left")
    for name in ("metric", "base", "this", "difference", "95 % interval", ""):
        table.add_column(name, justify="left" if name in ("metric", "") else "right")
    for one in found:
        interval = "–" if one.low != one.low else f"{one.low:.4g} … {one.high:.4g}"
        table.add_row(one.metric, f"{one.a:.4g}", f"{one.b:.4g}", f"{one.difference:+.4g}", interval, one.words())
    Console().print(table)
