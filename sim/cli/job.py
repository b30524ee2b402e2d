"""One Hydra job: compose, solve, write the run folder. It returns an outcome and raises nothing but Ctrl-C.

Hydra loses what a job raises (or loses the other jobs with it), and a launcher may run jobs in other processes or on
other machines. So how a job ended stands in ``job.json``, written last: a folder that has one is finished. The same
file, with the digest of configuration and inputs, lets an interrupted sweep resume: a finished job is not run again.
"""

from __future__ import annotations

import json
import math
import re
import shlex
import sys
import time
import traceback
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import yaml
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from sim.analysis import price
from sim.analysis.economics import decide
from sim.cli.decide import run_decide
from sim.cli.environment import fault
from sim.cli.manifest import bare, manifest_of
from sim.cli.progress import PROGRESS, left_in
from sim.cli.scenario import digest_of, scenario_from
from sim.cli.search_table import load_section_of, write_search_table
from sim.cli.stored import checked, json_object, text_of
from sim.cli.stored_run import leaves_its_page
from sim.cost import gpus_per_replica
from sim.decision.table import answer_words
from sim.errors import ConfigError, InfeasibleError, SimError
from sim.perf import resolve_engine
from sim.report import clear_run, print_run_summary, write_json, write_parquet, write_run
from sim.report.decision import decision_sentence
from sim.report.names import fleet_of
from sim.report.page import NOTHING
from sim.report.run_folder import json_text
from sim.run.asked_of_traffic import check_asked_of_traffic
from sim.search import (
    Answer,
    Point,
    ScenarioEvaluator,
    Solve,
    Trial,
    gpu_usd_per_hour,
    prefill_and_decode,
    solve,
    trial_of,
)
from sim.spec import Scenario, scenario_to_dict
from sim.spec.served_fleet import server_lines, server_title

_PLACE = re.compile(r"(?<=[=,:\[{'\" ])/(?!/)[^,'\"\]}]+")
"""What may be an absolute path within an override."""
Status = Literal["done", "infeasible", "cannot_run", "crashed"]


@dataclass(frozen=True)
class JobOutcome:
    """How a job ended; ``job.json`` holds the same. ``float(outcome)`` is what a sweeper minimises."""

    status: Status
    folder: str
    overrides: tuple[str, ...] = ()
    reason: str = ""
    """Why it is not done, in one line or more."""
    digest: str = ""
    seed: int = 0
    solve: str = ""
    gpu: str = ""
    max_num_seqs: int | None = None
    replicas: int | None = None
    pools: dict[str, int] = field(default_factory=dict)
    """Replicas by pool, where these were searched for."""
    fleet: str = ""
    """The fleet in words."""
    gpus_per_replica: int = 1
    rate_scale: float | None = None
    verdict: str = ""
    holds: bool = False
    """Whether the estimates meet the SLO, however sure that is."""
    usd_per_1m_output_tokens: float | None = None
    usd_per_hour: float | None = None
    gpu_usd_per_hour: float | None = None
    """Of the GPUs alone, before instances are rounded up; what ``search.max_usd_per_hour`` limits."""
    trial: Trial | None = None
    """What an adaptive sweeper learns from this job."""
    confidence: dict[str, Any] | None = None
    """Of a point that holds: ``level``, ``meets_slo`` (null: no claim can be made), ``intervals``, ``needs_s``; where
    something is random ``fresh_seeds`` and ``worst_ratio_upper``."""
    one_replica: dict[str, float] | None = None
    """Highest load of one replica: rate_scale, requests_per_s, output_tokens_per_s, usd_per_1m_output_tokens."""
    targets: dict[str, float] = field(default_factory=dict)
    servers: dict[str, str] = field(default_factory=dict)
    """Command line -> the pools whose servers it starts; empty where none stand."""
    against: str = ""
    """The bill beside the cheapest API's, in words; of single runs."""
    points: int = 0
    engine_steps: int = 0
    wall_s: float = 0.0

    def __float__(self) -> float:
        usd = self.usd_per_1m_output_tokens
        return usd if self.status == "done" and self.holds and usd is not None else math.inf

    def tell(self, *, as_json: bool = False) -> int:
        """Print how a single run ended, in words or as one JSON object, and return its exit code."""
        if self.status == "cannot_run":
            raise SimError(self.reason)
        if self.status == "crashed":
            return 1
        if self.verdict == "" and self.status == "infeasible":
            raise InfeasibleError(f"nothing that was allowed meets the SLO: {self.reason}")
        if self.solve == "decide":
            if not self.holds:
                raise InfeasibleError(self.reason)
            return 0
        summary = json.loads((Path(self.folder) / "summary.json").read_text(encoding="utf-8"))
        if as_json:
            print(json_text(summary | {"run": self.facts()}))
        else:
            print_run_summary(summary, against=self.against)
            for line, pools in self.servers.items():
                print(f"{server_title(self.servers, pools)}: {line}")
            print(f"Written to {self.folder}")
        if self.solve == "none":
            return 0
        if self.status == "infeasible":
            raise InfeasibleError(f"nothing that was allowed meets the SLO: {self.reason}. The nearest miss is above.")
        if not as_json:
            print(self.sentence())
        return 0

    def facts(self) -> dict[str, Any]:
        """What a program wants to know of the run besides its summary."""
        names = (
            "status", "folder", "reason", "solve", "gpu", "max_num_seqs", "replicas", "rate_scale", "seed",
            "against", "servers",
        )  # fmt: skip
        answer = {"answer": "" if self.solve == "none" else self.sentence(), "server": next(iter(self.servers), "")}
        return answer | {name: getattr(self, name) for name in names}

    def sentence(self) -> str:
        """The solved answer in one sentence."""
        cost = f"at ${self.usd_per_1m_output_tokens:.3g} per 1M output tokens"
        fleet = f"{self.fleet} with max_num_seqs={self.max_num_seqs}"
        if self.solve == "load":
            return f"The highest load within the SLO is {self.rate_scale:.4g} times the trace's, on {fleet}, {cost}."
        return f"The fewest replicas within the SLO: {fleet}, {cost}."


def run_job(config: DictConfig) -> JobOutcome:
    """Run the job that Hydra composed."""
    hydra = HydraConfig.get()
    stated: Any = OmegaConf.to_container(hydra.overrides.task)  # as written: an interpolation is not resolved
    folder, overrides = Path(hydra.runtime.output_dir), tuple(stated)
    multirun = hydra.mode == RunMode.MULTIRUN
    try:
        scenario = scenario_from(config, overrides)
        digest = digest_of(scenario)
        if multirun and (finished := read_outcome(folder)) is not None and finished.digest == digest:
            if finished.overrides != overrides:  # the same configuration in other words, e.g. a default that is spelt out
                finished = replace(finished, overrides=overrides)
                _write_outcome(folder, finished)
            return finished
        check_asked_of_traffic(scenario)
        if multirun:
            clear_run(folder)  # a sweep that is killed from here on must not answer with what an earlier one left
        if scenario.decide.enabled and not multirun:
            return _decided(scenario, folder, overrides, digest)
        how = how_to_solve(scenario, multirun=multirun, axes=tuple(hydra.sweeper.get("params") or ()))
        with left_in(folder) if multirun else nullcontext():
            later = multirun and leaves_its_page(scenario.output)
            outcome = solve_and_write(scenario, how, folder, overrides, digest, page=not later)
    except InfeasibleError as error:  # not even tried: the budget pays for nothing
        outcome = JobOutcome("infeasible", str(folder), overrides, reason=str(error))
    except SimError as error:
        outcome = JobOutcome("cannot_run", str(folder), overrides, reason=str(error))
    except Exception as error:
        found = fault(error)
        if found is None:
            traceback.print_exc()
        status: Status = "crashed" if found is None else "cannot_run"
        outcome = JobOutcome(status, str(folder), overrides, reason=found or f"{type(error).__name__}: {error}")
    if multirun:
        if outcome.verdict == "":
            clear_run(folder)
        _write_outcome(folder, outcome)
    return outcome


def lost_job(folder: Path, overrides: tuple[str, ...], reason: str) -> JobOutcome:
    """The outcome of a job whose process ended before it; without a digest, so that a resumed sweep runs it again."""
    outcome = JobOutcome("crashed", str(folder), overrides, reason=reason)
    clear_run(folder)
    (folder / PROGRESS).unlink(missing_ok=True)
    _write_outcome(folder, outcome)
    return outcome


def _write_outcome(folder: Path, outcome: JobOutcome) -> None:
    write_json(folder / "job.json", asdict(outcome) | {"folder": "."})


def read_outcome(folder: Path) -> JobOutcome | None:
    """How the job in ``folder`` ended, where it has ended well enough not to be run again."""
    path = folder / "job.json"
    try:
        found: JobOutcome = checked(JobOutcome, json_object(text_of(path), str(path)), path)
    except ConfigError:
        return None
    return replace(found, folder=str(folder))


def how_to_solve(scenario: Scenario, *, multirun: bool, axes: Sequence[str]) -> Solve:
    """What ``search.solve=auto`` means here. ``axes`` are those a configuration file states; the command line's own are
    looked at before Hydra starts."""
    asked = scenario.search.solve
    if asked == "replicas" and scales(scenario):
        return "none"  # an autoscaled fleet sizes itself: ``fleet.replicas`` is only where it starts
    if asked != "auto":
        return asked
    sized = not scenario.fleet.pools or prefill_and_decode(scenario) is not None
    if not multirun or "fleet.replicas" in axes or not sized or scales(scenario):
        return "none"
    return "replicas"


def scales(scenario: Scenario) -> bool:
    """Whether some pool changes its size by itself."""
    pools = scenario.fleet.all_pools().values()
    return any(scenario.scales(pool) for pool in pools)


def decide_command(overrides: Sequence[str]) -> str:
    """What finds the capacity of a run's configuration and sets it beside the APIs; files as the manifest calls them, for
    page and manifest are handed on."""
    solved = ("fleet.replicas", "search.solve", "hydra.mode")
    stated = [_with_bare_places(one) for one in overrides if one.lstrip("+").partition("=")[0] not in solved]
    return shlex.join(["servecap", "decide", *stated])


def _with_bare_places(override: str) -> str:
    return _PLACE.sub(lambda found: bare(path) if (path := Path(found[0])).exists() else found[0], override)


def _decided(scenario: Scenario, folder: Path, overrides: tuple[str, ...], digest: str) -> JobOutcome:
    rows = run_decide(scenario, folder, overrides)
    holds = any(row.holds for row in rows)
    status: Status = "done" if holds else "infeasible"
    return JobOutcome(status, str(folder), overrides, digest=digest, solve="decide", holds=holds, reason=answer_words(rows))


def solve_and_write(
    scenario: Scenario, how: Solve, folder: Path, overrides: tuple[str, ...], digest: str, page: bool = True
) -> JobOutcome:
    """Solve ``scenario`` and write the run folder of its answer, beside it the points that were searched, and ``page``: its
    page too."""
    wall_s, cpu_s = time.perf_counter(), time.process_time()
    evaluate = ScenarioEvaluator(scenario)
    try:
        answer = solve(scenario, how, evaluate)
    except KeyboardInterrupt:
        if evaluate.points:
            write_search_table(folder / "search.csv", evaluate.points)
            print(f"servecap: the {len(evaluate.points)} points so far are in {folder / 'search.csv'}", file=sys.stderr)
        raise
    tree = price(answer.result)
    clear_run(folder)
    if how != "none":
        write_search_table(folder / "search.csv", answer.points)
    config_text = yaml.safe_dump(scenario_to_dict(answer.scenario), sort_keys=False, allow_unicode=True)
    wall_s, cpu_s = time.perf_counter() - wall_s, time.process_time() - cpu_s
    write_parquet(folder / "replicas.parquet", answer.result.replicas)
    command = decide_command(overrides)
    manifest = manifest_of(answer.result, digest, wall_s, cpu_s) | {"decide": command}
    decisions = decide(answer.scenario, answer.summary) if page else []
    page = page and answer.scenario.output.report
    extra = load_section_of(folder, answer.result, answer.summary) if page else NOTHING
    write_run(
        folder, answer.result, answer.summary, tree, config_text, manifest, extra=extra, command=command,
        decisions=decisions, page=page,
    )  # fmt: skip
    against = decision_sentence(decisions) if decisions else ""
    return _outcome(answer, folder, overrides, digest, wall_s, against)


def _outcome(
    answer: Answer, folder: Path, overrides: tuple[str, ...], digest: str, wall_s: float, against: str
) -> JobOutcome:
    scenario, point = answer.scenario, answer.point
    missed = str(answer.summary["slo"].get("missed_by") or point.verdict)
    infeasible = not answer.feasible and answer.solve != "none"
    gpus = gpus_per_replica(scenario.engine)
    return JobOutcome(
        status="infeasible" if infeasible else "done",
        folder=str(folder),
        overrides=overrides,
        reason="; ".join(part for part in (answer.note, missed) if part) if infeasible else answer.note,
        digest=digest,
        seed=scenario.seed,
        solve=answer.solve,
        gpu=scenario.gpu.name,
        max_num_seqs=resolve_engine(scenario.engine, scenario.model, scenario.gpu).max_num_seqs,
        replicas=point.replicas,
        pools=dict(point.pools),
        fleet=fleet_of(scenario),
        gpus_per_replica=gpus,
        rate_scale=point.rate_scale,
        verdict=str(answer.summary["slo"]["verdict"]),
        holds=point.holds,
        usd_per_1m_output_tokens=point.usd_per_1m_output_tokens,
        usd_per_hour=point.usd_per_hour,
        gpu_usd_per_hour=gpu_usd_per_hour(scenario, point),
        trial=trial_of(point),
        confidence=confidence_of(answer.summary["slo"]),
        one_replica=_one_replica(answer.one_replica),
        targets=dict(point.targets),
        servers=server_lines(scenario) if scenario.has_machines else {},
        against=against,
        points=len(answer.points),
        engine_steps=sum(seen.engine_steps for seen in answer.points),
        wall_s=wall_s,
    )


def confidence_of(judged: Mapping[str, Any]) -> dict[str, Any] | None:
    """The claim beside an answer that holds, from ``summary["slo"]``."""
    if not judged["holds"]:
        return None
    found = {
        "level": judged["confidence"],
        "meets_slo": judged["claim"],
        "intervals": judged["intervals"],
        "needs_s": judged["needs_s"],
    }
    if "seeds" in judged:
        found |= {
            "fresh_seeds": [one["seed"] for one in judged["seeds"]],
            "fresh_seeds_that_hold": sum(one["holds"] for one in judged["seeds"]),
            "worst_ratio_upper": judged["worst_ratio_upper"],
        }
    return found


def _one_replica(point: Point | None) -> dict[str, float] | None:
    if point is None:
        return None
    return {
        "rate_scale": point.rate_scale,
        "requests_per_s": point.summary["throughput"]["requests_per_s"],
        "output_tokens_per_s": point.output_tokens_per_s,
        "usd_per_1m_output_tokens": point.usd_per_1m_output_tokens,
    }
