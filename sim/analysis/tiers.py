"""What KV behind the GPU's cache did: which tier prompts were found in, what moved, how busy the links were.

    gpu hit tokens     prompt tokens found in the GPU's prefix cache at first admissions
    host hit tokens    prompt tokens (after a preemption generated ones, too) that were loaded from host memory
    promoted tokens    tokens that came from a disk or a shared store into host memory, on their way to the GPU
    link busy          busy time of a direction / time for which replicas were billed; of a shared store / the run
"""

from __future__ import annotations

from typing import Any

import pandas as pd

from sim.analysis.billing import billed_interval
from sim.record.result import Result
from sim.units import GIB, SECONDS_PER_HOUR

LOWER = ("disk", "store")


def rows_of(result: Result, tier: str) -> pd.DataFrame | None:
    """The rows of one tier with what it holds: of each replica, or of each shared store. None where there is none."""
    if result.tiers is None:
        return None
    rows = result.tiers[result.tiers["tier"].astype(object) == tier]
    if tier == "store":
        rows = rows[rows["replica"].astype(object) == ""]
    return rows if len(rows) else None


def tier_figures(result: Result) -> dict[str, Any] | None:
    """The figures above over all replicas with KV in host memory; None where there is none."""
    host = rows_of(result, "host")
    if host is None:
        return None
    names = set(host["replica"].astype(object))
    servers = result.replicas[[name in names for name in result.replicas["replica"].astype(object)]]
    billed_s = float((servers["billed_stop_s"] - servers["billed_start_s"]).sum())
    return {
        **_held(host),
        "gpu_hit_tokens": int(servers["prefix_hits_tokens"].sum()),
        "host_hit_tokens": int(host["loaded_tokens"].sum()),
        **_moved(host, billed_s),
    }


def lower_figures(result: Result) -> dict[str, Any]:
    """Likewise of ``kv_on_disk`` and ``kv_in_store``, where there are such."""
    found: dict[str, Any] = {}
    for tier, name in zip(LOWER, ("kv_on_disk", "kv_in_store"), strict=True):
        rows = rows_of(result, tier)
        if rows is None:
            continue
        promoted = {"promoted_tokens": int(rows["loaded_tokens"].sum())}
        if tier == "store":
            promoted["promoted_tokens_of_others"] = int(rows["from_others_tokens"].sum())
        found[name] = {**_held(rows), **promoted, **_moved(rows, result.end_s * len(rows))}
    return found


def _held(rows: pd.DataFrame) -> dict[str, Any]:
    return {
        "capacity_gib": float(rows["capacity_bytes"].sum()) / GIB,
        "used_gib": float(rows["used_bytes"].sum()) / GIB,
    }


def _moved(rows: pd.DataFrame, billed_s: float) -> dict[str, Any]:
    return {
        "loaded_bytes": float(rows["loaded_bytes"].sum()),
        "stored_bytes": float(rows["stored_bytes"].sum()),
        "evicted_bytes": float(rows["evicted_bytes"].sum()),
        "refused_stores": int(rows["refused_stores"].sum()),
        "loading_busy": float(rows["loading_s"].sum()) / billed_s if billed_s > 0 else float("nan"),
        "storing_busy": float(rows["storing_s"].sum()) / billed_s if billed_s > 0 else float("nan"),
    }


def tier_sentences(result: Result) -> list[str]:
    """What a reader of the verdict should know of it; nothing without a tier."""
    figures = tier_figures(result)
    if figures is None:
        return []
    said = [
        f"KV in host memory: {figures['host_hit_tokens']:,} tokens were loaded instead of computed "
        f"({figures['gpu_hit_tokens']:,} found on the GPU); {_amounts(figures, 'loaded')}."
    ]
    lower = lower_figures(result)
    if "kv_on_disk" in lower:
        disk = lower["kv_on_disk"]
        said.append(
            f"KV on disks: {disk['promoted_tokens']:,} tokens came back into host memory; {_amounts(disk, 'read')}. "
            "Modelled after vLLM's rules, not recorded."
        )
    if "kv_in_store" in lower:
        store = lower["kv_in_store"]
        said.append(
            f"KV in the shared store: {store['promoted_tokens']:,} tokens came into host memory, "
            f"{store['promoted_tokens_of_others']:,} of them stored by another replica; {_amounts(store, 'read')}. Modelled "
            "after vLLM's rules, not recorded."
        )
    scenario = result.scenario
    engines = [pool.engine or scenario.engine for pool in scenario.fleet.all_pools().values()]
    backends = {engine.kv_offload.backend for engine in engines if engine.offloads_kv} - {"native"}
    if backends:
        said.append(
            f"KV offload as {' and '.join(sorted(backends))}: their defaults, with vLLM's order of asking, storing and "
            "evicting; whether a store holds up the step, and loads from below host memory that block it, are not modelled"
            f"{', nor is write_back' if 'hicache' in backends else ''}."
        )
    return said


def _amounts(figures: dict[str, Any], loaded: str) -> str:
    refused = f"; {figures['refused_stores']:,} offers found no room" if figures["refused_stores"] else ""
    return (
        f"{figures['loaded_bytes'] / GIB:,.1f} GiB {loaded}, {figures['stored_bytes'] / GIB:,.1f} GiB stored; "
        f"{figures['used_gib']:,.1f} of {figures['capacity_gib']:,.1f} GiB in use{refused}"
    )


def tiers_usd(result: Result, end_s: float) -> dict[str, float]:
    """What tiers cost at the prices of ``cost``, by what they are called in the cost tree: host memory and disks while their
    replicas are billed before ``end_s``, stores from the start to there."""
    cost = result.scenario.cost
    return {
        "host memory for KV": _rented_usd(result, end_s, "host", cost.host_memory_usd_per_gib_hour),
        "disks for KV": _rented_usd(result, end_s, "disk", cost.kv_disk_usd_per_gib_hour),
        "shared store for KV": _rented_usd(result, end_s, "store", cost.kv_store_usd_per_gib_hour),
    }


def _rented_usd(result: Result, end_s: float, tier: str, usd: float) -> float:
    rows = rows_of(result, tier)
    if rows is None or not usd:
        return 0.0
    start_s, stop_s = billed_interval(result.replicas, result.end_s, end_s)
    billed_s = dict(zip(result.replicas["replica"].astype(str), stop_s - start_s, strict=True))
    total = 0.0
    for replica, size in zip(rows["replica"], rows["capacity_bytes"], strict=True):
        seconds = float(billed_s[str(replica)]) if replica else end_s
        total += float(size) / GIB * seconds / SECONDS_PER_HOUR * usd
    return total
