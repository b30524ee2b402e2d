"""The end of a sweep: from the job folders to ``sweep.csv``, ``answer.json``, ``frontier.html``, a table, one sentence.

Everything is read back from files, so it does not matter which launcher ran the jobs, on which machine, or whether the
sweep was interrupted; ``servecap report DIR`` calls the same function again.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping, Sequence, Set
from datetime import date
from pathlib import Path
from typing import Any

from sim.analysis.attribution import why_words
from sim.analysis.economics import TIE, Decision, decide
from sim.analysis.judge import verdict_words
from sim.cli.job import JobOutcome
from sim.cli.price_notes import price_notes
from sim.cli.search_table import read_search_table
from sim.cli.stored import stored_scenario
from sim.cli.sweep_jobs import Job, best_job, keep_pages, keep_winner_only, read_jobs, tied_jobs
from sim.cli.sweep_pareto import pareto_facts, with_pareto
from sim.report import csv_text, frontier_html, frontier_markdown, print_frontier_table, write_json, write_text
from sim.report.decision import decision_section, decision_sentence
from sim.report.names import fleet_words
from sim.report.rates import shown_rates
from sim.report.run_folder import json_text
from sim.workload.trace import left_out_sentences

_NESTED = ("capacity", "by_route", "by_tenant", "why_missed")
"""Keys of a summary that hold no number each; ``sweep.csv`` says in words why a job missed."""
_CAP, _GPU, _REPLICAS = "engine.max_num_seqs", "gpu", "fleet.replicas"
_STATISTICS = ("p50", "p95", "p99")


def finish_sweep(folder: Path, *, interrupted: bool = False, as_json: bool = False) -> int:
    """Write what belongs beside the jobs in ``folder``, print table and answer (or the answer alone, as one JSON object),
    and return the exit code."""
    jobs = read_jobs(folder)
    if not jobs:
        print(f"No job has finished in {folder}", file=sys.stderr)
        return 130 if interrupted else 1
    best = best_job(jobs)
    rows = with_pareto([frontier_row(job, axes_of(jobs)) for job in sorted(jobs, key=_display_order)])
    sentence = answer_sentence(jobs, best)
    write_text(folder / "sweep.csv", sweep_csv(jobs, {row["job"] for row in rows if row["pareto"]}))
    decisions = _decisions(folder, best)
    answer = answer_of(folder, jobs, best)
    facts = {"pareto": pareto_facts(rows), "against_api": [one.as_dict() for one in decisions]}
    write_json(folder / "answer.json", answer | facts)
    targets = next((job.outcome.targets for job in jobs if job.outcome.targets), {})
    one_a_price = {_priced_by(job): folder / str(job.number) for job in jobs if job.summary}
    traffic = [*_traffic_notes(jobs), *_search_notes(best)]
    notes = [*traffic, *price_notes(one_a_price.values(), date.today())]
    against = decision_sentence(decisions) if decisions else ""
    page = frontier_html(
        rows, answer=sentence, against=against, targets=targets, notes=notes, extra=decision_section(decisions)
    )
    write_text(folder / "frontier.html", page)
    words = [against] if against else []
    write_text(folder / "answer.md", frontier_markdown(rows, answer=sentence, notes=[*words, *notes]))
    keep_pages(folder, jobs, best, decisions)
    keep_winner_only(folder, jobs, best)
    if as_json:
        print(json_text(answer | facts | {"answer": sentence, "folder": str(folder), "interrupted": interrupted}))
        if best is None:
            print(f"servecap: {sentence}", file=sys.stderr)
    else:
        print_frontier_table(rows)
        for job in jobs:
            if job.outcome.status in ("cannot_run", "crashed"):
                where = " ".join(axes_of_job(job, axes_of(jobs)))
                print(f"job {job.number}{where and f' ({where})'}: {job.outcome.reason}")
        for note in traffic:
            print(note)
        print(f"Written to {folder}")
        if interrupted:
            print(f"Interrupted; {len(jobs)} finished jobs are kept.")
            print(f"The same command with hydra.sweep.dir={folder} goes on.")
            print(f"So far: {sentence}")
        elif best is None:
            print(f"servecap: {sentence}", file=sys.stderr)
        else:
            print(sentence)
        if not interrupted and any(job.outcome.status == "crashed" for job in jobs):
            print(f"The same command with hydra.sweep.dir={folder} runs the crashed jobs again; the others are kept.")
    return 130 if interrupted else exit_code(jobs)


def _traffic_notes(jobs: Sequence[Job]) -> list[str]:
    """What was left out of the jobs' traces, sorted or assumed, each said once."""
    told = [f"Traffic: {one}." for job in jobs for one in left_out_sentences(job.summary.get("left_out") or {})]
    return list(dict.fromkeys(told))


def _search_notes(best: Job | None) -> list[str]:
    """What was simulated for the answer, where that was not all of the traffic at every point."""
    reason = best.outcome.reason if best is not None and best.outcome.status == "done" else ""
    return [f"Search: {reason}."] if reason else []


def _decisions(folder: Path, best: Job | None) -> list[Decision]:
    """Self-host against each API at the answer's own traffic; none without an answer."""
    if best is None or not best.holds:
        return []
    return decide(stored_scenario(folder / str(best.number)), best.summary)


def _priced_by(job: Job) -> tuple[str, ...]:
    return job.outcome.gpu, *(override for override in job.outcome.overrides if override.lstrip("+").startswith("gpu"))


def _display_order(job: Job) -> tuple[str, int, int]:
    return job.outcome.gpu, job.outcome.max_num_seqs or 0, job.number


def exit_code(jobs: Sequence[Job]) -> int:
    """1 if a job crashed, 2 if no job could run, 3 if none meets the SLO, else 0."""
    if any(job.outcome.status == "crashed" for job in jobs):
        return 1
    if all(job.outcome.status == "cannot_run" for job in jobs):
        return 2
    return 0 if any(job.holds for job in jobs) else 3


def axes_of(jobs: Sequence[Job]) -> list[str]:
    """The keys whose values differ between the jobs, in the order in which they were given."""
    values: dict[str, set[str]] = {}
    for job in jobs:
        for override in job.outcome.overrides:
            key, _, value = override.partition("=")
            values.setdefault(key, set()).add(value)
    return [key for key, found in values.items() if len(found) > 1 and key != "search.max_usd_per_hour"]


def axes_of_job(job: Job, axes: Sequence[str]) -> list[str]:
    """The overrides of ``job`` that lie on ``axes``."""
    return [override for override in job.outcome.overrides if override.partition("=")[0] in axes]


def pool_label(job: Job, axes: Sequence[str]) -> str:
    """How the job's pool is called: the GPU, and whatever else is swept besides the batch cap."""
    return " ".join([job.outcome.gpu or _from_overrides(job, _GPU), *_others(job, axes)]).strip()


def _others(job: Job, axes: Sequence[str]) -> list[str]:
    return [override for override in axes_of_job(job, axes) if override.partition("=")[0] not in (_CAP, _GPU, _REPLICAS)]


def _from_overrides(job: Job, key: str) -> str:
    return next((o.partition("=")[2] for o in job.outcome.overrides if o.partition("=")[0] == key), "")


def frontier_row(job: Job, axes: Sequence[str]) -> dict[str, Any]:
    """What ``sim.report`` shows of a job."""
    outcome, summary = job.outcome, job.summary
    cap = outcome.max_num_seqs if outcome.max_num_seqs is not None else _from_overrides(job, _CAP)
    row: dict[str, Any] = {
        "gpu": pool_label(job, axes), "max_num_seqs": cap, "job": job.number, "overrides": outcome.overrides,
    }  # fmt: skip
    if ": " in outcome.fleet:  # of several pools: no one GPU times a number
        row["fleet"] = " ".join([outcome.fleet, *_others(job, axes)])
    if not summary:
        lines = outcome.reason.splitlines()
        return row | {"verdict": "cannot run", "reason": lines[0] if lines else outcome.status}
    one = outcome.one_replica
    row |= {
        "replicas": outcome.replicas,
        "rate_scale": outcome.rate_scale,
        "verdict": summary["slo"]["verdict"],
        "holds": outcome.holds,
        "missed_by": summary["slo"]["missed_by"],
        "reason": outcome.reason,
        "why_missed": why_words(summary.get("why_missed") or {}),
        "output_tokens_per_s": shown_rates(summary).output_tokens_per_s,
        "usd_per_1m_output_tokens": summary["cost"]["window"].get("usd_per_1m_output_tokens"),
        "utilisation": summary["utilisation"],
        "one_replica_load": one,
        "one_replica_usd_per_1m_output_tokens": one["usd_per_1m_output_tokens"] if one else None,
    }
    for metric in ("ttft", "tpot", "e2e"):
        for statistic in _STATISTICS:
            row[f"{metric}_{statistic}_s"] = summary["latency"][f"{metric}_s"][statistic]
    return row


def sweep_csv(jobs: Sequence[Job], pareto: Set[int] = frozenset()) -> str:
    """One row a job: overrides, how it ended, then the flat keys of its summary. Empty = undefined."""
    flats = [flat({key: value for key, value in job.summary.items() if key not in _NESTED}) for job in jobs]
    keys = list(dict.fromkeys(key for one in flats for key in one))
    head = ("job", "overrides", "status", "reason", "solve", "gpu", "max_num_seqs", "replicas", "rate_scale")
    more = ("one_replica_rate_scale", "one_replica_usd_per_1m_output_tokens", "evaluated", "why_missed", "pareto")
    rows: list[list[Any]] = [[*head, *more, *keys]]
    for job, values in zip(jobs, flats, strict=True):
        outcome, one = job.outcome, job.outcome.one_replica or {}
        rows.append([
            job.number, " ".join(outcome.overrides), outcome.status, outcome.reason, outcome.solve, outcome.gpu,
            outcome.max_num_seqs, outcome.replicas, outcome.rate_scale, one.get("rate_scale"),
            one.get("usd_per_1m_output_tokens"), outcome.points, why_words(job.summary.get("why_missed") or {}),
            job.number in pareto,
            *(values.get(key) for key in keys),
        ])  # fmt: skip
    return csv_text(rows)


def flat(data: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """``data`` with nested keys joined by dots."""
    result: dict[str, Any] = {}
    for key, value in data.items():
        if isinstance(value, Mapping):
            result |= flat(value, f"{prefix}{key}.")
        else:
            result[f"{prefix}{key}"] = value
    return result


def answer_of(folder: Path, jobs: Sequence[Job], best: Job | None) -> dict[str, Any]:
    """``answer.json``."""
    return {
        "feasible": best is not None and best.holds,
        "best": None if best is None else _best(best),
        "confidence": None if best is None else best.outcome.confidence,
        "evaluated": sum(max(job.outcome.points, 1 if job.summary else 0) for job in jobs),
        "cheaper_rejected": cheaper_rejected(folder, jobs, best),
        "left_out": {} if best is None else best.summary.get("left_out") or {},
    }


def _best(job: Job) -> dict[str, Any]:
    latency = job.summary["latency"]
    return {
        "job": job.number,
        "overrides": reproducing_overrides(job.outcome),
        "replicas": job.outcome.replicas,
        "ttft_p95_s": latency["ttft_s"]["p95"],
        "tpot_p95_s": latency["tpot_s"]["p95"],
        "e2e_p95_s": latency["e2e_s"]["p95"],
        "usd_per_1m_output_tokens": job.summary["cost"]["window"].get("usd_per_1m_output_tokens"),
    }


def reproducing_overrides(outcome: JobOutcome) -> list[str]:
    """Overrides with which ``python -m sim`` runs exactly this point, once."""
    budget = "search.max_usd_per_hour"
    sizes = {f"fleet.pools.{name}.replicas": f"{count}" for name, count in outcome.pools.items()}
    solved = {**(sizes or {_REPLICAS: f"{outcome.replicas}"}), "search.solve": "none", "hydra.mode": "RUN"}
    if outcome.solve != "none" and outcome.seed:
        solved["seed"] = str(outcome.seed)
    replaced = {budget, *solved}
    if outcome.solve == "load":
        solved["workload.rate_scale"] = repr(outcome.rate_scale)
        replaced |= {"workload.rate_scale", "workload.rate_per_s", "workload.tokens_per_day"}
    kept = [override for override in outcome.overrides if override.lstrip("+").partition("=")[0] not in replaced]
    return [*kept, *(f"{key}={value}" for key, value in solved.items())]


def cheaper_rejected(folder: Path, jobs: Sequence[Job], best: Job | None) -> list[dict[str, Any]]:
    """What would have been cheaper than the answer and missed: of each job the dearest such candidate, and why."""
    if best is None or not best.holds:
        return []
    limit = best.outcome.usd_per_hour or math.inf
    rejected = []
    for job in jobs:
        candidates = [
            row for row in read_search_table(folder / str(job.number) / "search.csv")
            if row["verdict"] != "pass" and row["usd_per_hour"] and float(row["usd_per_hour"]) < limit
            and float(row["rate_scale"]) == job.outcome.rate_scale
        ]  # fmt: skip
        if not candidates:
            continue
        nearest = max(candidates, key=lambda row: float(row["usd_per_hour"]))
        sizes = [f"fleet.pools.{name}.replicas={count}" for name, count in map(_size, (nearest.get("pools") or "").split())]
        sizes = sizes or [f"{_REPLICAS}={nearest['replicas']}"]
        left_out = (*(one.partition("=")[0] for one in sizes), "search.solve", "search.max_usd_per_hour")
        kept = [o for o in job.outcome.overrides if o.partition("=")[0] not in left_out]
        overrides = [*kept, *sizes]
        rejected.append({"overrides": overrides, "reason": nearest["missed"] or nearest["verdict"]})
    return rejected


def _size(stated: str) -> tuple[str, str]:
    name, _, count = stated.partition("=")
    return name, count


def answer_sentence(jobs: Sequence[Job], best: Job | None) -> str:
    """The answer in one sentence."""
    if best is None:
        return "No cell could run: " + jobs[0].outcome.reason.splitlines()[0]
    outcome, summary = best.outcome, best.summary
    limits = ", ".join(f"{name} <= {limit:g}" for name, limit in outcome.targets.items()) or "no target"
    fleet = outcome.fleet or fleet_words(outcome.gpu, outcome.replicas or 0, outcome.gpus_per_replica)
    pool = " ".join([fleet, *_others(best, axes_of(jobs))])
    if not best.holds:
        missed = outcome.reason or summary["slo"]["missed_by"] or summary["slo"]["verdict"]
        return (
            f"Nothing that was allowed meets the SLO ({limits}); the nearest miss is "
            f"max_num_seqs={outcome.max_num_seqs} on {pool}: {missed}."
        )
    latency, cost = summary["latency"], summary["cost"]["window"]["usd_per_1m_output_tokens"]
    tpot = latency["tpot_s"]["p95"]
    attained = f"TTFT p95 {latency['ttft_s']['p95']:.3g} s" + (f", TPOT p95 {tpot * 1000:.3g} ms" if tpot else "")
    load = f" at {outcome.rate_scale:.4g} times the trace's load" if outcome.solve == "load" else ""
    tied = len(tied_jobs(jobs)) - 1
    tie = f"; a tie within {TIE:.1%} with {tied} other {'cell' if tied == 1 else 'cells'}" if tied else ""
    return (
        f"Cheapest within the SLO ({limits}): max_num_seqs={outcome.max_num_seqs} on {pool}"
        f"{load}, ${cost:.3g} per 1M output tokens ({attained}; {sureness(summary)}{tie})."
    )


def sureness(summary: Mapping[str, Any]) -> str:
    """Whether the answer's intervals lie within the SLO."""
    words = verdict_words(summary["slo"], summary["requests"]["offered"])
    if not words:
        return "no interval"
    return f"meets it {words}" if summary["slo"]["claim"] else words
