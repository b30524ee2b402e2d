"""Fixtures that tests of several rooms share, hypothesis profiles, and where outside data lies."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, settings

from sim.record.result import REPLICA_COLUMNS, REQUEST_COLUMNS, TIMESERIES_COLUMNS, ItlHistogram, Result
from sim.spec import Scenario, parse_scenario

settings.register_profile("ci", max_examples=60, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
settings.register_profile("deep", max_examples=3000, deadline=None, suppress_health_check=list(HealthCheck))
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci"))

SHARED = Path(__file__).resolve().parents[1].parent / "shared"


@pytest.fixture
def shared() -> Path:
    """The folder of outside data, where there is one beside the checkout."""
    if not SHARED.is_dir():
        pytest.skip(f"outside data is not here: {SHARED}")
    return SHARED


L40S = {
    "name": "l40s", "memory_gib": 44.4, "bandwidth_gb_s": 864, "tflops_bf16": 362, "link_gb_s_per_direction": 32,
    "price": {"on_demand_usd_per_hour": 1.8, "spot_usd_per_hour": 0.9, "source": "test", "date": "2026-11-01"},
}  # fmt: skip
LLAMA3_8B = {
    "name": "llama3_8b", "hidden_size": 4096, "vocab_size": 128256, "max_context": 131072,
    "stack": [
        {"count": 32, "attention": {"heads": 32, "kv_heads": 8, "head_dim": 128}, "feed_forward": {"width": 14336}},
    ],
}  # fmt: skip


def _scenario(**changes: Any) -> Scenario:
    data: dict[str, Any] = {
        "model": LLAMA3_8B,
        "gpu": L40S,
        "workload": {"path": "by-hand.csv"},
        "slo": {"ttft_p95_s": 2.0, "tpot_p95_s": 0.1},
    }
    return parse_scenario({**data, **changes})


def _requests(rows: list[dict[str, Any]]) -> pd.DataFrame:
    """Complete request rows from what a test says of each; latencies follow from the times."""
    full = []
    for index, row in enumerate(rows):
        r = {
            "request_id": index, "route": "", "feature": "", "tenant": "", "session_id": "", "turn": -1,
            "arrival_s": float(index), "input_tokens": 100, "output_tokens": 11, "cached_tokens": 0,
            "wasted_tokens": 0, "attempts": 1, "preemptions": 0, "outcome": "completed", "reason": "",
            "pool": "main", "replica": 0, "cost_usd": np.nan, "queue_s": 0.0, **row,
        }  # fmt: skip
        r.setdefault("first_token_s", r["arrival_s"] + 0.5)
        r.setdefault("finish_s", r["arrival_s"] + 1.5)
        r["ttft_s"] = r["first_token_s"] - r["arrival_s"]
        r["e2e_s"] = r["finish_s"] - r["arrival_s"]
        tried = np.isfinite(r["first_token_s"]) or r["wasted_tokens"] > 0
        r.setdefault("computed_tokens", r["input_tokens"] - r["cached_tokens"] if tried else 0)
        r.setdefault("sampled_tokens", r["output_tokens"] + r["wasted_tokens"])
        gaps = r["output_tokens"] - 1
        r["tpot_s"] = (r["finish_s"] - r["first_token_s"]) / gaps if gaps > 0 else np.nan
        full.append(r)
    frame = pd.DataFrame(full, columns=list(REQUEST_COLUMNS))
    for column in ("route", "feature", "tenant", "outcome", "reason", "pool"):
        frame[column] = frame[column].astype("category")
    return frame


def _replicas(rows: list[dict[str, Any]], requests: pd.DataFrame, end_s: float) -> pd.DataFrame:
    """Replica rows; by default one replica that computed every token of ``requests`` and was busy half the time."""
    default = {
        "pool": "main", "gpu": "l40s", "gpus": 1, "market": "on_demand", "zone": "zone_a", "requested_s": 0.0,
        "ready_s": 0.0, "stopped_s": np.nan, "billed_start_s": 0.0, "billed_stop_s": end_s, "busy_s": end_s / 2,
        "starting_s": 0.0, "draining_s": 0.0, "dead_s": 0.0, "seq_s": end_s, "kv_block_s": 10 * end_s,
        "max_num_seqs": 8, "kv_blocks": 100, "engine_steps": 10,
        "input_tokens": int((requests["input_tokens"] - requests["cached_tokens"]).sum()),
        "output_tokens": int(requests["output_tokens"].sum() + requests["wasted_tokens"].sum()),
        "cached_tokens": int(requests["cached_tokens"].sum()), "recomputed_tokens": 0,
        "wasted_tokens": int(requests["wasted_tokens"].sum()), "preemptions": 0, "prefix_queries_tokens": 0,
        "prefix_hits_tokens": 0,
    }  # fmt: skip
    rows = [{**default, "replica": index, **row} for index, row in enumerate(rows or [{}])]
    return pd.DataFrame(rows, columns=list(REPLICA_COLUMNS))


def _timeseries(requests: pd.DataFrame, end_s: float) -> pd.DataFrame:
    times = np.arange(1.0, np.ceil(end_s) + 1.0)
    arrivals = np.histogram(requests["arrival_s"], bins=np.concatenate([[-1e-9], times]))[0]
    columns: dict[str, Any] = {name: np.zeros(len(times)) for name in TIMESERIES_COLUMNS}
    columns |= {"time_s": times, "arrivals": arrivals, "running": np.ones(len(times)), "batch": np.ones(len(times))}
    columns |= {"replicas_ready": np.ones(len(times)), "kv_used": np.full(len(times), 0.1)}
    columns |= {"ttft_p95_s": np.full(len(times), 0.5), "usd_per_hour": np.full(len(times), 1.8)}
    return pd.DataFrame(columns, columns=list(TIMESERIES_COLUMNS))


@pytest.fixture
def make_scenario() -> Callable[..., Scenario]:
    """``make_scenario(slo={...}, cost={...}, ...)``: a small valid scenario."""
    return _scenario


@pytest.fixture
def make_result() -> Callable[..., Result]:
    """``make_result(requests=[{...}], replicas=[{...}], scenario=..., end_s=...)``: a finished run written by hand."""

    def make(
        requests: list[dict[str, Any]] | None = None,
        replicas: list[dict[str, Any]] | None = None,
        scenario: Scenario | None = None,
        end_s: float | None = None,
        **changes: Any,
    ) -> Result:
        table = _requests([{}] * 4 if requests is None else requests)
        end = float(table["finish_s"].max()) if end_s is None else end_s
        edges = np.geomspace(1e-4, 100.0, 1400)
        counts = np.histogram(
            table["tpot_s"].dropna(), bins=edges, weights=(table["output_tokens"] - 1)[table["tpot_s"].notna()]
        )[0]
        values: dict[str, Any] = {
            "scenario": scenario or _scenario(),
            "requests": table,
            "replicas": _replicas(replicas or [], table, end),
            "timeseries": _timeseries(table, end),
            "events": [],
            "itl": ItlHistogram(edges, counts),
            "end_s": end,
            "last_arrival_s": float(table["arrival_s"].max()) if len(table) else 0.0,
            "engine_steps": 10,
            "kernel_events": 20,
            "wall_s": 0.5,
            "cpu_s": 0.25,
        }
        return Result(**{**values, **changes})

    return make
