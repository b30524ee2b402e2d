"""What speculation and LoRA adapters did in a run, and what they cost.

    acceptance_length = 1 + accepted / verifications         tokens a verification, limits of answers apart
    rejected_share    = 1 - accepted / drafted
    draft_usd, wait_usd                                      seconds x GPUs x price; both are part of the busy node of the
                                                             cost tree, which requests pay by their tokens
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from sim.analysis.ranks import usd_of_seconds
from sim.record.result import Result
from sim.spec import EngineSpec, Scenario


def feature_figures(result: Result) -> dict[str, dict[str, Any]]:
    """``speculation`` and ``adapters`` of the summary, each only where an engine has it."""
    features, found = result.features, {}
    if features is None:
        return {}
    busy_s = float(result.replicas["busy_s"].sum())
    verifications = int(features["verifications"].sum())
    if verifications:
        drafted, accepted = int(features["drafted_tokens"].sum()), int(features["accepted_tokens"].sum())
        found["speculation"] = {
            "verifications": verifications,
            "drafted_tokens": drafted,
            "accepted_tokens": accepted,
            "acceptance_length": 1.0 + accepted / verifications,
            "rejected_share": 1.0 - accepted / drafted,
            "drafting_share": float(features["drafting_s"].sum()) / busy_s if busy_s > 0 else float("nan"),
            "draft_usd": _usd(result, features, "drafting_s"),
        }
    if features["adapter_slot_loads"].sum():
        wait_s = float(features["adapter_wait_s"].sum())
        found["adapters"] = {
            "adapters_a_replica": float(features["adapters"].mean()),
            "slot_loads": int(features["adapter_slot_loads"].sum()),
            "disk_loads": int(features["adapter_disk_loads"].sum()),
            "wait_s": wait_s,
            "wait_share": wait_s / busy_s if busy_s > 0 else float("nan"),
            "wait_usd": _usd(result, features, "adapter_wait_s"),
        }
    return found


def feature_sentences(result: Result) -> list[str]:
    """What a reader of the verdict should know of it."""
    figures, said = feature_figures(result), []
    if (drafts := figures.get("speculation")) is not None:
        usd = f", ${drafts['draft_usd']:,.2f} of the bill" if np.isfinite(drafts["draft_usd"]) else ""
        said.append(
            f"Speculation: {drafts['acceptance_length']:.2f} tokens a verification, {drafts['rejected_share']:.0%} of the "
            f"drafts rejected; drafting took {drafts['drafting_share']:.0%} of the busy time{usd}. Engines that speculate "
            "step: positions move by what is accepted, so that no run of steps has a closed form, and nothing is skipped."
        )
    if (adapters := figures.get("adapters")) is not None:
        usd = f", ${adapters['wait_usd']:,.2f} of the bill" if np.isfinite(adapters["wait_usd"]) else ""
        said.append(
            f"Adapters: a replica served {adapters['adapters_a_replica']:.1f} of them, with {adapters['slot_loads']:,} "
            f"loads into a slot, {adapters['disk_loads']:,} of these from disk; engines waited {adapters['wait_share']:.1%} "
            f"of their busy time for them{usd}."
        )
    elif slots := max((engine.max_loras for engine in engines_of(result.scenario)), default=0):
        said.append(f"Adapters: memory is laid out for {slots} of them on each replica, but no request asks for one.")
    return said


def engines_of(scenario: Scenario) -> list[EngineSpec]:
    """What each pool begins with."""
    return [pool.engine or scenario.engine for pool in scenario.fleet.all_pools().values()]


def _usd(result: Result, features: pd.DataFrame, column: str) -> float:
    return usd_of_seconds(result, dict(zip(features["replica"].astype(str), features[column].astype(float), strict=True)))
