"""What KV in host memory did: which tier prompts were found in, what moved, how busy the host link was.

    gpu hit tokens    prompt tokens found in the GPU's prefix cache at first admissions
    host hit tokens   prompt tokens (after a preemption generated ones, too) that were loaded from host memory
    link busy         busy time of a direction / time for which replicas were billed
"""

from __future__ import annotations

from typing import Any

from sim.record.result import Result
from sim.units import GIB, SECONDS_PER_HOUR


def tier_figures(result: Result) -> dict[str, Any] | None:
    """The figures above over all replicas with KV in host memory; None where there is none."""
    tiers = result.tiers
    if tiers is None:
        return None
    names = set(tiers["replica"].astype(object))
    servers = result.replicas[[name in names for name in result.replicas["replica"].astype(object)]]
    billed_s = float((servers["billed_stop_s"] - servers["billed_start_s"]).sum())
    return {
        "capacity_gib": float(tiers["capacity_bytes"].sum()) / GIB,
        "used_gib": float(tiers["used_bytes"].sum()) / GIB,
        "gpu_hit_tokens": int(servers["prefix_hits_tokens"].sum()),
        "host_hit_tokens": int(tiers["loaded_tokens"].sum()),
        "loaded_bytes": float(tiers["loaded_bytes"].sum()),
        "stored_bytes": float(tiers["stored_bytes"].sum()),
        "evicted_bytes": float(tiers["evicted_bytes"].sum()),
        "refused_stores": int(tiers["refused_stores"].sum()),
        "loading_busy": float(tiers["loading_s"].sum()) / billed_s if billed_s > 0 else float("nan"),
        "storing_busy": float(tiers["storing_s"].sum()) / billed_s if billed_s > 0 else float("nan"),
    }


def tier_sentences(result: Result) -> list[str]:
    """What a reader of the verdict should know of it; nothing without a tier."""
    figures = tier_figures(result)
    if figures is None:
        return []
    refused = f"; {figures['refused_stores']:,} offers found no room" if figures["refused_stores"] else ""
    return [
        f"KV in host memory: {figures['host_hit_tokens']:,} tokens were loaded instead of computed "
        f"({figures['gpu_hit_tokens']:,} found on the GPU); {figures['loaded_bytes'] / GIB:,.1f} GiB loaded, "
        f"{figures['stored_bytes'] / GIB:,.1f} GiB stored; {figures['used_gib']:,.1f} of "
        f"{figures['capacity_gib']:,.1f} GiB in use{refused}. Engines with it step every token."
    ]


def host_memory_usd(result: Result) -> float:
    """What the tiers' memory costs while their replicas are billed, at ``cost.host_memory_usd_per_gib_hour``."""
    usd = result.scenario.cost.host_memory_usd_per_gib_hour
    if result.tiers is None or not usd:
        return 0.0
    billed = result.replicas.set_index("replica")
    total = 0.0
    for replica, size in zip(result.tiers["replica"], result.tiers["capacity_bytes"], strict=True):
        hours = float(billed.loc[replica, "billed_stop_s"] - billed.loc[replica, "billed_start_s"]) / SECONDS_PER_HOUR
        total += float(size) / GIB * hours * usd
    return total
