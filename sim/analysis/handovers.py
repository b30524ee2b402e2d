"""KV caches that one replica computed and another one read: how many, how large, how long it took."""

from __future__ import annotations

from typing import Any

import numpy as np

from sim.perf.geometry import kv_bytes_per_token, kv_bytes_per_token_beyond_window
from sim.record.result import Result
from sim.units import GIB

_COUNTS = ("handed_over", "not_handed_over", "kept_whole", "without_prefill", "leases_ended")


def handovers(result: Result) -> dict[str, Any] | None:
    """``summary["disaggregation"]``; None where no pool has the role prefill.

    ``handed_over``: prompts whose KV cache arrived; ``not_handed_over``: it could not be read any more; ``kept_whole``: the
    decider left the prompt at the decode replica; ``without_prefill``: no prefill replica could take it;
    ``leases_ended``: pinned prompts that nobody read in time. ``transfer_s``: on the way; ``handover_s``: from the end of
    the prefill on, the decode replica's queue included. ``bytes``: of each request's last hand-over.
    """
    if not result.scenario.fleet.pools_of_role("prefill"):
        return None
    requests = result.requests
    found: dict[str, Any] = {name: int(result.gateway.get(name, 0)) for name in _COUNTS}
    found["bytes"] = float(requests["transfer_bytes"].sum())
    for name in ("transfer_s", "handover_s"):
        values = requests[name].dropna().to_numpy(dtype=float)
        found[name] = {
            "mean": float(values.mean()) if len(values) else float("nan"),
            **{f"p{q}": float(np.quantile(values, q / 100)) if len(values) else float("nan") for q in (50, 95, 99)},
        }
    return found


def handover_sentences(result: Result) -> list[str]:
    """What a reader should know of it: caches with windows are handed over as if nothing had left them."""
    scenario, said = result.scenario, []
    for name in scenario.fleet.pools_of_role("prefill"):
        pool = scenario.fleet.pools[name]
        model, engine = pool.model or scenario.model, pool.engine or scenario.engine
        token_bytes = kv_bytes_per_token(model, engine.kv_cache_dtype)
        grows_by = kv_bytes_per_token_beyond_window(model, engine.kv_cache_dtype)
        if grows_by < token_bytes:
            said.append(
                f"KV handed over by pool {name} counts every token of {model.name} whole; of tokens that have left its "
                f"windows {grows_by / token_bytes:.0%} would do: long prompts take longer on the way than they need."
            )
    return said


def handover_words(found: dict[str, Any]) -> str:
    """``24,975 prompts (3,051 GiB of KV) handed over, p95 12 ms after the prefill (2.1 ms of it on the way)``."""
    words = f"{found['handed_over']:,} prompts ({found['bytes'] / GIB:,.1f} GiB of KV) handed over"
    after, way = found["handover_s"]["p95"], found["transfer_s"]["p95"]
    if after is not None and np.isfinite(after):
        words += f", p95 {_duration(after)} after the prefill ({_duration(way)} of it on the way)"
    others = {
        "not_handed_over": "could not be read", "kept_whole": "stayed at a decode replica",
        "without_prefill": "found no prefill replica", "leases_ended": "leases ended unread",
    }  # fmt: skip
    return words + "".join(f"; {found[name]:,} {said}" for name, said in others.items() if found[name])


def _duration(seconds: float) -> str:
    return f"{seconds * 1000:.3g} ms" if seconds < 0.9995 else f"{seconds:,.1f} s"
