"""``summarize``: the numbers of a run, as ``summary.json`` holds them. None is an undefined number.

Over what each is taken:

    requests, tokens, amplification, fleet, cost, energy, throughput_total    the whole run, warm-up and drain included
    cost.window                                               the bill without the tail after the last arrival, and the
                                                              month in which this traffic repeats (``cost_tree.month``)
    latency, goodput, slo                                             requests that arrived at or after ``warmup_s``
    throughput                                                        the steady window: warm-up to the last arrival

An answer's output tokens are spread evenly between its first and its last token, so that a window cuts them fairly; its
prompt counts at the first token. Utilisations:

    gpu_busy = time in which a step ran / time billed         (weighted by GPUs)
    batch    = scheduled sequences / max_num_seqs             (mean over the time a replica was ready)
    kv       = KV blocks in use / KV blocks                   (likewise)
    token    = tokens delivered / tokens at the SLO's capacity  (only a capacity search knows it: else None)

    energy: joules of the GPUs' boards, CO2 at ``cost.co2_g_per_kwh`` (``sim.analysis.energy``)
    disaggregation: KV caches handed over between replicas (``handovers``); None without prefill replicas
    insurance: dollars of the perfect, the configured and the static peak fleet
    why_missed: what the tail of each missed target waited for; by_route, by_tenant: ``by_label``

    amplification: attempts per client request; tokens sampled per token delivered. 1.0 when nothing is repeated.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pandas as pd

from sim.analysis.attribution import why_missed
from sim.analysis.billing import billed_interval
from sim.analysis.by_label import by_label
from sim.analysis.closed_formula import closed_formula
from sim.analysis.cost_tree import BY_VOLUME, EITHER_WAY, FIXED, ON_TOP, CostNode, per_month, price, window_s
from sim.analysis.energy import energy_figures
from sim.analysis.features import feature_figures
from sim.analysis.handovers import handovers
from sim.analysis.insurance import insurance
from sim.analysis.judge import judge
from sim.analysis.latency import answered_mask, latency_table, measured_requests
from sim.analysis.ranks import rank_figures
from sim.analysis.slo import good_mask
from sim.analysis.tiers import lower_figures, tier_figures
from sim.columns import let_go, slices
from sim.cost.api_terms import TERMS
from sim.record.result import OUTCOMES, Result, holds
from sim.spec import Slo
from sim.units import DAYS_PER_MONTH, SECONDS_PER_DAY, SECONDS_PER_HOUR, TOKENS_PER_MILLION

SCHEMA_VERSION = 1


def summarize(result: Result, slo: Slo | None = None, cost: CostNode | None = None) -> dict[str, Any]:
    """The summary of a run against ``slo`` (default: the scenario's) and at ``cost`` (default: ``price(result)``).

    A second question about a run needs no second run:

    >>> import sim
    >>> result = sim.simulate(sim.scenario(workload={"limit": 200}))
    >>> strict = sim.summarize(result, slo=sim.Slo(ttft_p95_s=0.001))
    >>> sim.summarize(result)["requests"]["completed"], strict["slo"]["holds"]
    (200, False)
    """
    slo = slo or result.scenario.slo
    tree = cost or price(result)
    requests = result.requests
    measured = measured_requests(result)
    good = good_mask(measured, slo)
    steady_s = result.last_arrival_s - result.scenario.workload.warmup_s
    repeats_s = window_s(result)
    window = price(result, repeats_s) if repeats_s > 0 else None
    let_go()
    latency = latency_table(result)
    let_go()
    judged = judge(result, slo, latency, measured)
    let_go()
    summary: dict[str, Any] = {
        "schema_version": SCHEMA_VERSION,
        "requests": _request_counts(requests),
        "left_out": dict(result.left_out),
        "attempts": int(requests["attempts"].sum()),
        "tokens": _tokens(result),
        "latency": latency,
        "throughput": _steady_throughput(result),
        "throughput_total": _total_throughput(result),
        "goodput": {
            "requests_per_s": _ratio(float(good.sum()), steady_s),
            "fraction": _ratio(float(good.sum()), float(len(measured))),
        },
        "slo": judged,
        "why_missed": why_missed(result, slo, judged),
        "by_route": by_label(result, "route", tree),
        "by_tenant": by_label(result, "tenant", tree),
        "utilisation": utilisation(result),
        "amplification": _amplification(result),
        "preemptions": int(result.replicas["preemptions"].sum()),
        "prefix_hit_rate": _ratio(
            float(result.replicas["prefix_hits_tokens"].sum()), float(result.replicas["prefix_queries_tokens"].sum())
        ),
        "fleet": _fleet(result),
        "disaggregation": handovers(result),
        "insurance": insurance(result, judged["holds"], window=window),
        "cost": cost_numbers(result, tree, result.end_s, good, measured)
        | {"window": window_numbers(result, window, good, measured)},
        "energy": energy_figures(result),
        "simulation": {
            "wall_s": result.wall_s,
            "cpu_s": result.cpu_s,
            "simulated_s": result.end_s,
            "engine_steps": result.engine_steps,
            "kernel_events": result.kernel_events,
            "requests_per_cpu_s": _ratio(float(len(requests)), result.cpu_s),
        },
    }
    ranks = rank_figures(result)
    if ranks is not None:
        summary["ranks"] = ranks
    tiers = tier_figures(result)
    if tiers is not None:
        summary["kv_in_host_memory"] = tiers
        summary |= lower_figures(result)
    summary |= feature_figures(result)
    summary["closed_formula"] = closed_formula(result.scenario, summary)
    cleaned: dict[str, Any] = undefined_to_none(summary)
    return cleaned


def undefined_to_none(value: Any) -> Any:
    """``value`` with every NaN and infinity in its dicts and lists replaced by None, for JSON."""
    if isinstance(value, dict):
        return {key: undefined_to_none(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [undefined_to_none(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def _ratio(part: float, whole: float) -> float:
    return part / whole if whole > 0 else float("nan")


def _request_counts(requests: pd.DataFrame) -> dict[str, int]:
    counts = requests["outcome"].value_counts()
    return {"offered": len(requests), **{outcome: int(counts.get(outcome, 0)) for outcome in OUTCOMES}}


def _tokens(result: Result) -> dict[str, int]:
    requests, replicas = result.requests, result.replicas
    answered = answered_mask(requests)
    return {
        "input": int(requests["input_tokens"].to_numpy().sum(where=answered)),
        "output": int(requests["output_tokens"].sum()),
        "cached": int(requests["cached_tokens"].sum()),
        "recomputed": int(replicas["recomputed_tokens"].sum()),
        "wasted": int(replicas["wasted_tokens"].sum()),
    }


def _steady_throughput(result: Result) -> dict[str, float]:
    start_s, stop_s = result.scenario.workload.warmup_s, result.last_arrival_s
    answered = answered_mask(result.requests)
    requests = outputs = inputs = 0.0
    for here in slices(len(answered)):
        rows = np.flatnonzero(answered[here]) + here.start
        names = ("first_token_s", "finish_s", "output_tokens", "input_tokens")
        first, finish, output, prompts = (result.requests[name].to_numpy()[rows].astype(float) for name in names)
        first = np.where(np.isfinite(first), first, finish)
        in_window = np.clip(finish, start_s, stop_s) - np.clip(first, start_s, stop_s)
        whole = finish - first
        at_once = (finish >= start_s) & (finish <= stop_s)
        share = np.where(whole > 0, in_window / np.where(whole > 0, whole, 1.0), at_once)
        requests += float(at_once.sum())
        outputs += float(np.dot(share, output))
        inputs += float(prompts[(first >= start_s) & (first <= stop_s)].sum())
    window_s = stop_s - start_s
    return {
        "requests_per_s": _ratio(requests, window_s),
        "output_tokens_per_s": _ratio(outputs, window_s),
        "input_tokens_per_s": _ratio(inputs, window_s),
    }


def _total_throughput(result: Result) -> dict[str, float]:
    answered = answered_mask(result.requests)
    prompts, answers = _tokens_of(result.requests, answered)
    return {
        "requests_per_s": _ratio(float(answered.sum()), result.end_s),
        "output_tokens_per_s": _ratio(answers, result.end_s),
        "input_tokens_per_s": _ratio(prompts, result.end_s),
    }


def _tokens_of(requests: pd.DataFrame, chosen: np.ndarray) -> tuple[float, float]:
    """Prompt tokens and tokens of answers of the requests of the mask ``chosen``."""
    prompts, answers = (float(requests[name].to_numpy().sum(where=chosen)) for name in ("input_tokens", "output_tokens"))
    let_go()
    return prompts, answers


def utilisation(result: Result) -> dict[str, float]:
    """GPU busy, batch, KV and token utilisation of the fleet; see the module's head."""
    replicas = result.replicas
    start_s, stop_s = billed_interval(replicas, result.end_s)
    gpus = replicas["gpus"].to_numpy(dtype=float)
    ready = replicas["ready_s"].to_numpy(dtype=float)
    stopped = replicas["stopped_s"].to_numpy(dtype=float)
    up_s = np.nan_to_num(np.where(np.isfinite(stopped), stopped, result.end_s) - ready)
    up_s = np.maximum(up_s - np.nan_to_num(replicas["dead_s"].to_numpy(dtype=float)), 0.0)

    def occupancy(integral: str, capacity: str) -> float:
        room = float(np.dot(up_s, replicas[capacity].to_numpy(dtype=float)))
        return _ratio(float(replicas[integral].sum()), room)

    return {
        "gpu_busy": _ratio(
            float(np.dot(gpus, replicas["busy_s"].to_numpy(dtype=float))), float(np.dot(gpus, stop_s - start_s))
        ),
        "batch": occupancy("seq_s", "max_num_seqs"),
        "kv": occupancy("kv_block_s", "kv_blocks"),
        "token": float("nan"),
    }


def _amplification(result: Result) -> dict[str, float]:
    delivered = float(result.requests["output_tokens"].sum())
    wasted = float(result.replicas["wasted_tokens"].sum())
    return {
        "attempts": _ratio(float(result.requests["attempts"].sum()), float(len(result.requests))),
        "tokens": _ratio(delivered + wasted, delivered),
    }


def _fleet(result: Result) -> dict[str, float | int]:
    start_s, stop_s = billed_interval(result.replicas, result.end_s)
    gpus = result.replicas["gpus"].to_numpy(dtype=float)
    edges = np.concatenate([start_s, stop_s])
    deltas = np.concatenate([np.ones(len(start_s), dtype=int), -np.ones(len(stop_s), dtype=int)])
    # at equal times stops come first: a replica replaced in an instant is one replica, not two
    order = np.lexsort((deltas, edges))
    running = np.cumsum(deltas[order])
    in_use = np.cumsum((deltas * np.concatenate([gpus, gpus]))[order])
    return {
        "gpu_hours": float(np.dot(gpus, stop_s - start_s)) / SECONDS_PER_HOUR,
        "replicas_mean": _ratio(float((stop_s - start_s).sum()), result.end_s),
        "replicas_max": int(running.max()) if len(running) else 0,
        "gpus_mean": _ratio(float(np.dot(gpus, stop_s - start_s)), result.end_s),
        "gpus_max": int(in_use.max()) if len(in_use) else 0,
    }


def cost_numbers(
    result: Result, tree: CostNode, seconds: float, good: np.ndarray, measured: pd.DataFrame
) -> dict[str, float]:
    """Dollars of the ``seconds`` that ``tree`` pays for, an hour and a million tokens; the denominators are in the names.
    Goodput tokens are scaled from the measured requests to the whole run, so that the warm-up's bill meets the warm-up's
    tokens."""
    prompts, answers = _tokens_of(result.requests, answered_mask(result.requests))
    output_tokens = float(result.requests["output_tokens"].sum())
    measured_tokens = float(measured["output_tokens"].sum())
    good_share = _ratio(_tokens_of(measured, good)[1], measured_tokens)

    def per_1m(tokens: float) -> float:
        return _ratio(tree.usd * TOKENS_PER_MILLION, tokens)

    return {
        "total_usd": tree.usd,
        "usd_per_hour": _ratio(tree.usd * SECONDS_PER_HOUR, seconds),
        "usd_per_1m_output_tokens": per_1m(output_tokens),
        "usd_per_1m_tokens": per_1m(prompts + answers),
        "usd_per_1m_goodput_tokens": per_1m(output_tokens * good_share),
    }


def window_numbers(
    result: Result, tree: CostNode | None, good: np.ndarray, measured: pd.DataFrame
) -> dict[str, Any]:
    """``cost.window``: ``cost_numbers`` of the window of arrivals, which ``tree`` is the price of (None where it is empty);
    the month in which it repeats, by what moves it; and its volume, tokens of answers a day."""
    seconds = window_s(result)
    if tree is None:
        return {"window_s": seconds}
    monthly = per_month(tree, seconds)
    prompts, answers = _tokens_of(result.requests, answered_mask(result.requests))
    days = seconds / SECONDS_PER_DAY

    def usd(*names: str) -> float:
        return math.fsum(child.usd for child in monthly.children if child.name in names)

    return {
        "window_s": seconds,
        **cost_numbers(result, tree, seconds, good, measured),
        "usd_per_month": monthly.usd,
        "compute_usd_per_month": usd("compute"),
        "on_top_usd_per_month": usd(*ON_TOP),
        "fixed_usd_per_month": usd(*FIXED),
        "commitment_usd_per_month": usd("commitment"),
        "by_volume_usd_per_month": usd(*BY_VOLUME),
        "either_way_usd_per_month": usd(*EITHER_WAY),
        "output_tokens_per_day": answers / days,
        "input_tokens_per_day": prompts / days,
        **_api_months(result, monthly, days),
    }


def _api_months(result: Result, monthly: CostNode, days: float) -> dict[str, Any]:
    """``apis``: what each provider bills a month, at list prices and under its contract; nothing where there is none."""
    bills = monthly.find("api")
    if bills is None:
        return {}
    requests = result.requests
    return {
        "apis": {
            bill.name: {
                "usd_per_month": bill.usd,
                "listed_usd_per_month": math.fsum(part.usd for part in bill.children if part.name not in TERMS),
                "tokens_per_month": sum(_tokens_of(requests, holds(requests["pool"], bill.name))) / days * DAYS_PER_MONTH,
            }
            for bill in bills.children
        }
    }
