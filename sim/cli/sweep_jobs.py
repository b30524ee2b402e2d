"""The finished jobs of a sweep's folder, which of them is the answer, and what they keep of their files."""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sim.analysis.economics import TIE, Decision
from sim.cli.job import JobOutcome, read_outcome
from sim.cli.stored import stored_summary
from sim.cli.stored_run import missing_of_run, stored_result, write_page
from sim.cli.sweep_members import membership

_LOSERS_DROP = {
    "requests.parquet": "requests", "replicas.parquet": "requests", "timeseries.parquet": "timeseries",
    "steps.parquet": "steps", "report.html": "report",
}  # fmt: skip
"""Large file -> the ``output.*`` that asks for it."""


@dataclass(frozen=True)
class Job:
    """One finished job of a sweep."""

    number: int
    outcome: JobOutcome
    summary: Mapping[str, Any]
    """``summary.json``; empty for a job that could not run."""

    @property
    def holds(self) -> bool:
        """True when the job's answer meets the SLO."""
        return self.outcome.status == "done" and self.outcome.holds


def read_jobs(folder: Path) -> list[Job]:
    """The finished jobs of a sweep folder, by number, without those that an earlier sweep left there."""
    belongs, jobs = membership(folder), []
    for path in folder.glob("*/job.json"):
        outcome = read_outcome(path.parent)
        if outcome is None:
            print(f"{path}: is not what a job writes; the job counts as not finished", file=sys.stderr)
        elif path.parent.name.isdigit() and belongs(outcome.overrides):
            ran = outcome.status in ("done", "infeasible") and (path.parent / "summary.json").is_file()
            jobs.append(Job(int(path.parent.name), outcome, stored_summary(path.parent) if ran else {}))
    return sorted(jobs, key=lambda job: job.number)


def best_job(jobs: Sequence[Job]) -> Job | None:
    """The cheapest job that holds (within 0.5 % it is a tie: the smallest batch cap wins, it spares KV and tail, then the
    fewest GPUs); else the nearest miss; None when none ran."""
    ran = [job for job in jobs if job.summary]
    holding = [job for job in ran if job.holds]
    if holding:
        return min(
            tied_jobs(holding), key=lambda job: (job.outcome.max_num_seqs or 0, _gpus(job), _usd(job), job.number)
        )
    return min(ran, key=lambda job: (_tightness(job), job.number), default=None)


def tied_jobs(jobs: Sequence[Job]) -> list[Job]:
    """Of the jobs that hold, those within 0.5 % of the cheapest: nothing here tells them apart."""
    holding = [job for job in jobs if job.holds]
    least = min(map(_usd, holding), default=math.inf)
    return [job for job in holding if _usd(job) <= least * (1 + TIE)]


def _gpus(job: Job) -> int:
    return job.outcome.gpus_per_replica * (job.outcome.replicas or 0)


def _usd(job: Job) -> float:
    usd = job.outcome.usd_per_1m_output_tokens
    return math.inf if usd is None else usd


def _tightness(job: Job) -> float:
    slo = job.summary["slo"]
    if slo["verdict"] == "overloaded":
        return math.inf
    ratios = [
        slo["attained"][name] / limit for name, limit in slo["targets"].items() if slo["attained"].get(name) is not None
    ]
    return max(ratios, default=math.inf)


def keep_pages(folder: Path, jobs: Sequence[Job], best: Job | None, decisions: Sequence[Decision]) -> None:
    """The pages that the jobs left to be made: the winner's, with its ``decisions`` where it holds, and those that jobs' own
    overrides ask for."""
    for job in jobs:
        place = folder / str(job.number)
        kept = job is best or "output.report=true" in _asked(job)
        if job.summary and kept and not (place / "report.html").is_file() and not missing_of_run(place):
            result, summary = stored_result(place)
            if result.scenario.output.report:
                write_page(place, result, summary, decisions if job is best and job.holds else None)


def _asked(job: Job) -> set[str]:
    return {override.lstrip("+").lower() for override in job.outcome.overrides}


def keep_winner_only(folder: Path, jobs: Sequence[Job], best: Job | None) -> None:
    """Large files stay with the winner alone, except where a job's own overrides ask for them (``output.*``)."""
    for job in jobs:
        if best is not None and job.number != best.number:
            for name, output in _LOSERS_DROP.items():
                if f"output.{output}=true" not in _asked(job):
                    (folder / str(job.number) / name).unlink(missing_ok=True)
