"""``servecap compare A B [...]``: run folders or override sets side by side, each against the first.

Override sets are simulated on the same arrivals under the same seed, so that the traffic is no part of the difference.
Where something in them is random all sides are repeated under three shared seeds (``--seeds N``: under N), for an interval
of dollars and throughput, which are one number a run otherwise. Where nothing is, repeating would tell nothing: latencies
get their intervals from sections of trace time. Run folders are one run each.
"""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd

from sim.analysis import price, summarize
from sim.analysis.compare import Difference, compare_requests, compare_summaries
from sim.analysis.judge import verdict_words
from sim.cli.compose import composed_scenario
from sim.cli.front.verbs import own_flags
from sim.cli.front.words import as_overrides, flags_apart
from sim.cli.stored import stored_frame, stored_scenario, stored_summary
from sim.errors import ConfigError
from sim.report import write_json, write_text
from sim.report.comparison import comparison_markdown, print_comparison
from sim.report.comparison_page import Compared, comparison_page
from sim.report.run_folder import json_text
from sim.run import simulate
from sim.search.randomness import is_random
from sim.spec import Scenario
from sim.watch import watch_of_this_job
from sim.workload.timeline import load_trace

STDOUT = "-"
REPLICATIONS = 3
"""The fewest that give a Student interval worth showing."""


@dataclass(frozen=True)
class Side:
    """One thing compared."""

    name: str
    requests: pd.DataFrame
    """Of the first seed."""
    summaries: list[dict[str, Any]]
    """One a seed."""
    scenario: Scenario

    def verdict(self) -> str:
        """The first run's verdict in words."""
        judged, offered = self.summaries[0]["slo"], self.summaries[0]["requests"]["offered"]
        words = verdict_words(judged, offered) if "claim" in judged else str(judged.get("missed_by") or "")
        return f"{judged['verdict']}" + (f": {words}" if words else "")


def main(argv: Sequence[str]) -> int:
    """Compare and print; returns the exit code."""
    words, common = flags_apart(argv, own_flags("compare"))
    arguments = _parser().parse_intermixed_args(_with_targets(words))
    if len(arguments.sides) < 2:
        raise ConfigError(f"compare needs two or more run folders or override sets, but got {len(arguments.sides)}")
    stated = [_stated(text, common) for text in arguments.sides]
    scenarios = [each for each in stated if isinstance(each, Scenario)]
    seeds = _seeds(arguments.seeds, scenarios, folders=len(stated) - len(scenarios))
    sides: list[Side] = []
    interrupted = False
    try:
        for number, (text, each) in enumerate(zip(arguments.sides, stated, strict=True), start=1):
            watch_of_this_job().part = f"side {number} of {len(stated)}, {text}"
            sides.append(_simulated(text, each, seeds) if isinstance(each, Scenario) else each)
    except KeyboardInterrupt:
        if len(sides) < 2:
            raise
        interrupted = True
    first = sides[0]
    found = {side.name: differences(first, side) for side in sides[1:]}
    verdicts = {side.name: side.verdict() for side in sides}
    rows = {name: [asdict(one) | {"words": one.words()} for one in differing] for name, differing in found.items()}
    facts = {"base": first.name, "verdicts": verdicts, "against": rows}
    text = comparison_markdown(first.name, verdicts, found)
    if arguments.json == STDOUT:
        print(json_text(facts))
    elif arguments.markdown == STDOUT:
        print(text)
    else:
        print_comparison(first.name, verdicts, found)
    if arguments.json not in (None, STDOUT):
        write_json(Path(arguments.json), facts)
    if arguments.markdown not in (None, STDOUT):
        write_text(Path(arguments.markdown), text)
    if arguments.html is not None:
        shown = [Compared(side.name, side.scenario, side.summaries[0], side.requests, side.verdict()) for side in sides]
        write_text(Path(arguments.html), comparison_page(shown, found))
        print(f"Written to {arguments.html}", file=sys.stderr)
    if interrupted:
        print(f"servecap: interrupted; {len(sides)} of {len(stated)} sides are compared above", file=sys.stderr)
    return 130 if interrupted else 0


def _with_targets(argv: Sequence[str]) -> list[str]:
    """``argv`` with every ``--json`` and ``--markdown`` told where to: what follows is a file only if it is called one,
    since a run folder or a set of overrides may follow too."""
    told: list[str] = []
    for place, argument in enumerate(argv):
        told.append(argument)
        after = argv[place + 1] if place + 1 < len(argv) else ""
        if argument in ("--json", "--markdown") and not after.endswith((".json", ".md")):
            told.append(STDOUT)
    return told


def differences(a: Side, b: Side) -> list[Difference]:
    """``b`` against ``a``: latencies request by request, then the run-level numbers."""
    slos = (a.scenario.slo, b.scenario.slo)
    return [*compare_requests(a.requests, b.requests, slos), *compare_summaries(a.summaries, b.summaries)]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="servecap compare", description=__doc__)
    parser.add_argument(
        "sides", nargs="*",
        help='run folders, or sets such as "gpu=h100 fleet.replicas=3" or "--gpu h100"; flags of keys outside hold for all',
    )  # fmt: skip
    parser.add_argument(
        "--seeds", type=int, help="replications under shared seeds (default: 3 where something is random, else 1)"
    )
    parser.add_argument("--json", metavar="FILE.json", help="as JSON to this file, or to the terminal without one")
    parser.add_argument("--markdown", metavar="FILE.md", help="as Markdown likewise")
    parser.add_argument("--quiet", "-q", action="store_true", help="no progress on standard error")
    parser.add_argument("--html", metavar="FILE.html", help="as a page: settings that differ, charts, intervals")
    return parser


def _stated(text: str, common: Sequence[str]) -> Side | Scenario:
    """A run folder as it stands, or the scenario that overrides state on top of the ``common`` ones."""
    folder = Path(text)
    if folder.is_dir():
        if common:
            raise ConfigError(f"{folder}: a run folder is run already; {' '.join(common)} cannot change it")
        return _stored(folder)
    if text and "=" not in text and not text.startswith("--"):
        raise ConfigError(f"{text}: neither a run folder nor overrides (key=value)")
    try:
        own = as_overrides(shlex.split(text))
    except ValueError as error:
        raise ConfigError(f"{text}: is no set of overrides ({error})") from None
    stated = {_key(one) for one in own}
    return composed_scenario([*(one for one in common if _key(one) not in stated), *own])


def _key(override: str) -> str:
    return override.lstrip("+~").partition("=")[0]


def _seeds(asked: int | None, scenarios: Sequence[Scenario], folders: int) -> int:
    """How many replications: as many as asked for, or as many as there is something to learn from."""
    if asked is not None and asked < 1:
        raise ConfigError(f"--seeds must be at least 1, but got {asked}")
    if folders:
        if (asked or 1) > 1:
            raise ConfigError(f"--seeds {asked}: a run folder is one run; state the overrides of both sides instead")
        return 1
    if asked is not None:
        return asked
    return REPLICATIONS if any(is_random(one, load_trace(one)) for one in scenarios) else 1


def _simulated(text: str, scenario: Scenario, seeds: int) -> Side:
    runs = []
    for number in range(seeds):
        watch_of_this_job().doing = f"seed {number + 1} of {seeds}"
        runs.append(simulate(replace(scenario, seed=scenario.seed + number)))
    summaries = [summarize(run, cost=price(run)) for run in runs]
    return Side(text or "(defaults)", runs[0].requests, summaries, scenario)


def _stored(folder: Path) -> Side:
    missing = [name for name in ("config.yaml", "summary.json", "requests.parquet") if not (folder / name).is_file()]
    if missing:
        raise ConfigError(f"{folder}: not a complete run folder, {' and '.join(missing)} missing")
    columns = ("request_id", "arrival_s", "outcome", "reason", "ttft_s", "tpot_s", "e2e_s")
    requests = stored_frame(folder / "requests.parquet", columns)
    scenario = stored_scenario(folder)
    return Side(str(folder), requests, [stored_summary(folder)], scenario)
