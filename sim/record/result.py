"""``Result``: what a run leaves behind. Columns, no objects; a second question about a run needs no second run."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from sim.spec import Scenario

OUTCOMES = ("completed", "escalated", "timed_out", "shed", "rejected", "failed")
"""Every client request ends in exactly one of these."""

ANSWERED = ("completed", "escalated")
"""Outcomes that count as an answer; the rest are SLO misses."""

REQUEST_COLUMNS = (
    "request_id", "route", "feature", "tenant", "session_id", "turn", "arrival_s", "first_token_s", "finish_s",
    "input_tokens", "output_tokens", "cached_tokens", "wasted_tokens", "attempts", "preemptions", "outcome", "reason",
    "pool", "replica", "ttft_s", "tpot_s", "e2e_s", "queue_s", "cost_usd", "api_usd", "computed_tokens", "sampled_tokens",
    "transfer_s", "handover_s", "transfer_bytes", "prefill_replica",
)  # fmt: skip
"""Columns of ``Result.requests`` and of ``requests.parquet``, one row a client request, in order of arrival.

``output_tokens`` are those delivered to the client. ``first_token_s`` and the latencies are NaN where undefined (no
first token; TPOT of a one-token answer). ``queue_s``: from the client's send to the first time an engine scheduled it.
``cost_usd`` is NaN until ``sim.analysis`` prices the run; ``api_usd`` is what providers billed for the request, abandoned
calls included. ``computed_tokens`` and ``sampled_tokens`` are the prompt tokens that engines computed and the tokens that
they sampled for it, all its attempts and passes together, answered or not. ``prefill_replica`` computed its prompt where
that was another than ``replica``; ``transfer_bytes`` of KV cache came from there in ``transfer_s`` (from when both the
prompt was computed and the blocks for it reserved), ``handover_s`` after the prompt was computed; NaN where none came."""

REPLICA_COLUMNS = (
    "pool", "replica", "gpu", "gpus", "market", "zone", "requested_s", "ready_s", "stopped_s", "billed_start_s",
    "billed_stop_s", "busy_s", "idle_s", "starting_s", "draining_s",
    "dead_s", "price_factor", "seq_s", "kv_block_s", "max_num_seqs",
    "kv_blocks", "engine_steps", "input_tokens", "output_tokens", "cached_tokens", "recomputed_tokens", "wasted_tokens",
    "background_tokens", "preemptions", "prefix_queries_tokens", "prefix_hits_tokens", "role", "sent_bytes",
    "received_bytes",
)  # fmt: skip
"""Columns of ``Result.replicas``, one row a replica that ever existed. ``busy_s``: time in which a step ran (also while
draining); busy, idle, starting, draining and dead are billed time and add up to it, but for a bill's rounding;
``price_factor``: mean price over the bill relative to the preset's (1 where prices stand still);
``seq_s`` integrates scheduled sequences and ``kv_block_s`` used KV blocks over time (occupancy = integral / (time x
capacity)); ``input_tokens`` are prompt tokens computed (cache hits not counted), ``output_tokens`` tokens sampled, of
which ``wasted_tokens`` reached no client and ``background_tokens`` were batch work's; ``recomputed_tokens`` were computed
again after preemption. ``sent_bytes`` and ``received_bytes`` of KV caches went to and came from other replicas."""

RANK_COLUMNS = (
    "pool", "replica", "rank", "steps", "dummy_steps", "busy_s", "dummy_s", "seq_s", "input_tokens", "output_tokens",
    "preemptions",
)  # fmt: skip
"""Columns of ``Result.ranks``, one row a data-parallel rank of every replica that has several. ``dummy_steps``: forwards
that it made with nothing to schedule, while others of its group worked or nobody had noticed that all was done, and
``dummy_s`` their time; they are in the replica's busy time. The rest as in ``REPLICA_COLUMNS``."""

TIER_COLUMNS = (
    "pool", "replica", "tier", "capacity_bytes", "used_bytes", "stored_bytes", "loaded_bytes", "loaded_tokens",
    "from_others_tokens", "evicted_bytes", "lost_bytes", "refused_stores", "storing_s", "loading_s",
)  # fmt: skip
"""Columns of ``Result.tiers``: for each replica with KV in host memory a row of tier ``host``, one of ``disk`` and one of
``store`` where it has them, and one of ``store`` without a replica for each store that replicas share: its capacity, use,
evictions and refusals, and sums of what they moved. ``loaded_tokens``: tokens of prompts that came out of it, from host
memory to the GPU, from the others to host memory; ``from_others_tokens``: of these, stored by another replica;
``refused_stores``: offers for which there was no room; ``lost_bytes``: stored, but on their way when the replica died;
``storing_s`` and ``loading_s``: time in which each direction of the host link was busy, or for which the bytes would keep
the way to the disk or the store busy."""

FEATURE_COLUMNS = (
    "pool", "replica", "verifications", "drafted_tokens", "accepted_tokens", "drafting_s", "adapters",
    "adapter_slot_loads", "adapter_disk_loads", "adapter_wait_s",
)  # fmt: skip
"""Columns of ``Result.features``, one row a replica with speculation or LoRA slots: verifications of drafts, drafts in them
and accepted ones, and the time that drafting took; distinct adapters served, loads into a slot, those of them that began on
disk, and the time that the engine waited for both. The times are in the replica's busy time."""

TIMESERIES_COLUMNS = (
    "time_s", "arrivals", "waiting", "running", "tokens_in_flight", "kv_used", "batch", "replicas_ready",
    "replicas_starting", "replicas_draining", "replicas_dead", "ttft_p95_s", "e2e_p95_s", "usd_per_hour",
    "watts", "kv_pinned", "transfer_bytes",
)  # fmt: skip
"""Columns of ``Result.timeseries`` on a regular grid: ``arrivals`` in the interval that ends at ``time_s``, the rest as
the last completed step boundary before ``time_s`` left it; ``kv_used`` is a share of the fleet's blocks, ``batch`` the
mean running per ready replica, the p95s roll over the requests finished in the last 60 s (NaN when none); ``watts`` is
the mean of all GPUs in that interval (``sim.analysis.energy``); ``kv_pinned`` is the share of the blocks that wait for
another replica to read them, ``transfer_bytes`` of KV were read in the interval."""

FEATURE_SERIES = ("acceptance_length", "drafted_tokens", "adapters_running", "adapter_loads", "adapter_wait_s")
"""Columns that the time series has besides, where engines speculate or have LoRA slots: tokens a verification in the
interval (NaN without one) and drafts verified in it; distinct adapters that run, summed over replicas, loads into a slot in
the interval, and the time in it for which engines waited for them, summed over replicas."""

TIER_SERIES = ("kv_host_used", "kv_host_loaded_bytes", "kv_promoted_bytes")
"""Columns that the time series has besides, where engines have host memory for KV: the share of it in use, bytes that went
from it to the GPUs in the interval, and bytes that look-ups asked disks and stores for."""

STEP_COLUMNS = (
    "replica", "step", "start_s", "end_s", "new_tokens", "context_tokens", "running", "waiting", "free_blocks",
    "preempted",
)  # fmt: skip



def holds(column: pd.Series, *names: str) -> np.ndarray:
    """Which rows of a label column hold one of ``names``. A categorical column is asked by category: its rows are not
    looked at as text."""
    if not isinstance(column.dtype, pd.CategoricalDtype):
        return column.isin(names).to_numpy(dtype=bool)
    labels: pd.Categorical = column.array
    known = np.array([category in names for category in labels.categories] + [False])  # the last: code -1, missing
    chosen: np.ndarray = known[labels.codes]
    return chosen


@dataclass(frozen=True)
class ItlHistogram:
    """Gaps between output tokens, weighted by how often each occurred. ``edges_s`` has one more entry than
    ``counts``; neighbouring edges differ by at most 1 %."""

    edges_s: np.ndarray
    counts: np.ndarray


@dataclass(frozen=True)
class Result:
    """A finished run."""

    scenario: Scenario
    requests: pd.DataFrame
    """``REQUEST_COLUMNS``; ``outcome`` and the label columns are categorical."""
    replicas: pd.DataFrame
    """``REPLICA_COLUMNS``."""
    timeseries: pd.DataFrame
    """``TIMESERIES_COLUMNS``."""
    events: list[dict[str, Any]]
    """``{"time_s", "event", "cause", ...}`` in order of time."""
    itl: ItlHistogram
    end_s: float
    """Simulated time at which the last request had its outcome (the bill runs to here)."""
    last_arrival_s: float
    engine_steps: int
    kernel_events: int
    wall_s: float
    cpu_s: float
    """Process CPU from the first event to the last with records filled; imports, reading, analysis, writing apart."""
    ranks: pd.DataFrame | None = None
    """``RANK_COLUMNS``, when a replica has several ranks."""
    tiers: pd.DataFrame | None = None
    """``TIER_COLUMNS``, when a replica has KV in host memory."""
    features: pd.DataFrame | None = None
    """``FEATURE_COLUMNS``, when a replica speculates or has LoRA slots."""
    steps: pd.DataFrame | None = None
    """``STEP_COLUMNS``, when ``output.steps`` is on."""
    stopped_early: str | None = None
    """Why the run was given up before its end (its SLO miss was certain), or None."""
    gateway: dict[str, float] = field(default_factory=dict)
    """What the gateway counted: ``retries`` (escalations after a local attempt among them), ``hedges``, ``ejections`` by
    breakers, ``api_calls``, ``pass_tokens`` that engines sampled for safety and rewriting passes, and
    ``unfinished_attempts``, abandoned ones that were still in an engine at the end of the run."""
    api_bill_usd: dict[str, dict[str, float]] = field(default_factory=dict)
    """Provider -> part of its bill -> dollars."""
    work: dict[str, np.ndarray] = field(default_factory=dict)
    """Pool of the fleet -> (2, requests) tokens by ``request_id``: ``computed_tokens`` and ``sampled_tokens`` there."""
    inputs: dict[str, Any] = field(default_factory=dict)
    """Provenance of input files: path -> {sha256, bytes}."""
    left_out: dict[str, Any] = field(default_factory=dict)
    """What reading the traffic changed, as ``Trace.left_out`` says."""
