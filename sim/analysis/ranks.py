"""What the data-parallel ranks of replicas did, and what forwards with nothing to schedule cost.

    dummy share  = dummy forwards / forwards of ranks
    dummy $      = dummy seconds x GPUs of a rank x price            part of the busy node of the cost tree
    imbalance    = tokens sampled by the rank with most / mean, of the replica where it is largest
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from sim.analysis.billing import gpu_of_pool
from sim.cost import usd_per_gpu_hour
from sim.perf.mixture import steps_together
from sim.record.result import Result
from sim.units import SECONDS_PER_HOUR


def rank_figures(result: Result) -> dict[str, Any] | None:
    """The figures above over all replicas with several ranks; None where there is none."""
    ranks = result.ranks
    if ranks is None:
        return None
    forwards = int(ranks["steps"].sum() + ranks["dummy_steps"].sum())
    by_replica = ranks.groupby("replica", observed=True)["output_tokens"]
    mean = by_replica.mean().to_numpy(dtype=float)
    most = by_replica.max().to_numpy(dtype=float)
    return {
        "ranks": len(ranks),
        "forwards": forwards,
        "dummy_forwards": int(ranks["dummy_steps"].sum()),
        "dummy_share": float(ranks["dummy_steps"].sum()) / forwards if forwards else float("nan"),
        "dummy_usd": _dummy_usd(result),
        "imbalance": float(np.max(most[mean > 0] / mean[mean > 0])) if (mean > 0).any() else float("nan"),
    }


def rank_sentences(result: Result) -> list[str]:
    """What a reader of the verdict should know of it; nothing of ranks that share nothing."""
    figures = rank_figures(result)
    if figures is None:
        return []
    found = []
    if figures["dummy_forwards"]:
        usd = f", ${figures['dummy_usd']:,.2f} of the bill" if np.isfinite(figures["dummy_usd"]) else ""
        found.append(
            f"Ranks step together: {figures['dummy_share']:.0%} of their forwards ({figures['dummy_forwards']:,}) had "
            f"nothing to schedule{usd}; they are in the busy time."
        )
    if unrecorded := _unrecorded(result):
        found.append(
            f"Ranks that step together with {', '.join(unrecorded)}: composed by the rules of one engine and of "
            "synchronous ranks; no recording of vLLM was there to compare with."
        )
    return found


def _unrecorded(result: Result) -> list[str]:
    """What engines whose ranks step together do, in words, that no recording shows."""
    scenario = result.scenario
    does: dict[str, bool] = {}
    for pool in scenario.fleet.all_pools().values():
        engine = pool.engine or scenario.engine
        if steps_together(pool.model or scenario.model, engine):
            does["asynchronous scheduling"] = does.get("asynchronous scheduling") or engine.async_scheduling
            does["speculation"] = does.get("speculation") or engine.speculative.drafts > 0
            does["adapters"] = does.get("adapters") or engine.max_loras > 0
    return [words for words, done in does.items() if done]


def _dummy_usd(result: Result) -> float:
    assert result.ranks is not None
    each = result.ranks.groupby("replica", observed=True)["dummy_s"].mean()
    return usd_of_seconds(result, {str(name): float(seconds) for name, seconds in each.items()})


def usd_of_seconds(result: Result, seconds: Mapping[str, float]) -> float:
    """What replicas cost for so many ``seconds`` each, by name; NaN where a price is not known."""
    total = 0.0
    for _, server in result.replicas.iterrows():
        spent_s = seconds.get(str(server["replica"]), 0.0)
        if not spent_s:
            continue
        gpu = gpu_of_pool(result.scenario, str(server["pool"]))
        if not gpu.price.known:
            return float("nan")
        usd = usd_per_gpu_hour(gpu, str(server["market"]), result.scenario.cost) * float(server["price_factor"])
        total += spent_s / SECONDS_PER_HOUR * float(server["gpus"]) * usd
    return total
