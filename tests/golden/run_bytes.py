"""The bytes of seeded runs: one digest a scenario over everything that a run leaves behind but its own speed.

    python tests/golden/run_bytes.py                      # the form that is installed
    SERVECAP_PURE=1 python tests/golden/run_bytes.py      # its Python sources

The compiled form must print what the sources print: ``.ci/run`` compares the two.
"""

from __future__ import annotations

import hashlib
import io
import json
import sys

import numpy as np
import pandas as pd

from sim.cli.compose import composed_scenario
from sim.record import Result
from sim.run import simulate

SMALL_CACHE = "engine.num_gpu_blocks_override=700"
SCENARIOS: dict[str, list[str]] = {
    "default": ["workload.limit=1500"],
    "synchronous": ["workload.limit=800", "engine.async_scheduling=false"],
    "preempted": ["workload.limit=600", SMALL_CACHE, "engine.max_model_len=6000"],
    "no cache": ["workload.limit=600", SMALL_CACHE, "engine.max_model_len=6000", "engine.enable_prefix_caching=false"],
    "long chunks": ["workload.limit=500", "engine.max_num_batched_tokens=512", "engine.long_prefill_token_threshold=200"],
    "interval": ["workload.limit=500", "engine.prefill_schedule_interval=4"],
    "priority": ["workload.limit=500", SMALL_CACHE, "engine.max_model_len=6000", "engine.scheduling_policy=priority"],
    "sessions": ["workload=agents_and_chat_synthetic", "workload.limit=800", "fleet.replicas=3", "gateway=llm_d"],
    "sglang": ["workload.limit=500", "engine=sglang"],
    "tgi": ["workload.limit=500", "engine=tgi"],
    "tensorrt": ["workload.limit=500", "engine=tensorrt_llm"],
    "windows": ["model=gemma3_12b", "workload.limit=400", "engine.max_model_len=16384"],
    "ranks": [
        "model=qwen3_30b_a3b", "gpu=h100", "workload.limit=400", "engine.data_parallel_size=4", "fleet.replicas=1",
        "engine.enable_expert_parallel=true", "engine.prefill_schedule_interval=2",
    ],
    "speculating ranks": [
        "model=qwen3_30b_a3b", "gpu=h100", "workload.limit=200", "engine.data_parallel_size=4", "fleet.replicas=1",
        "engine.enable_expert_parallel=true", "engine.speculative.method=mtp", "engine.speculative.num_speculative_tokens=1",
    ],
    "dense ranks": ["workload.limit=400", "engine.data_parallel_size=3", "fleet.replicas=1"],
    "disaggregated": ["workload.limit=800", "fleet=disaggregated", "workload.rate_scale=0.3", "gateway.disaggregation={kind: always}"],
    "pushed": [
        "workload.limit=500", "fleet=disaggregated", "workload.rate_scale=0.3", "kv_transfer=tcp",
        "gateway.disaggregation={kind: always, protocol: push}",
    ],
    "offload": [
        "workload=agents_and_chat_synthetic", "workload.limit=200", "fleet.replicas=1", "engine.max_model_len=24000",
        "engine.num_gpu_blocks_override=1600", "engine.kv_offloading_size_gib=2", "engine.kv_offload.eviction_policy=arc",
    ],
    "synchronous offload": [
        "workload=agents_and_chat_synthetic", "workload.limit=200", "fleet.replicas=1", "engine.max_model_len=24000",
        "engine.num_gpu_blocks_override=1600", "engine.kv_offloading_size_gib=2", "engine.async_scheduling=false",
        "engine.enable_prefix_caching=false",
    ],
    "disks": [
        "workload=agents_and_chat_synthetic", "workload.limit=200", "fleet.replicas=1", "engine.max_model_len=24000",
        "engine.num_gpu_blocks_override=1600", "kv_offload=lmcache", "engine.kv_offload.disk.size_gib=16",
    ],
    "shared store": [
        "workload=agents_and_chat_synthetic", "workload.limit=200", "fleet.replicas=3", "engine.max_model_len=24000",
        "engine.num_gpu_blocks_override=1600", "kv_offload=hicache", "fleet.kv_store.size_gib=30",
        "fleet.kv_store.eviction_policy=arc",
    ],
    "speculation": ["workload.limit=400", "fleet.replicas=6", "speculative=eagle3_llama3_8b_sharegpt"],
    "adapters": [
        "workload.limit=300", "engine.max_loras=4", "workload.transforms=[{kind: adapters, count: 20}]",
        "gateway.router={kind: adapter_affinity}",
    ],
    "closed users": ["workload.limit=400", "gateway.users={kind: closed, users: 30, think_s: 1.5}"],
    "waiting sessions": ["workload=agents_and_chat_synthetic", "workload.limit=400", "gateway.users={kind: sessions}"],
    "noise": ["workload.limit=300", "engine.step_noise_cv=0.2"],
    "steps": ["workload.limit=200", "output.steps=true"],
    "watched": ["workload.limit=200", "check_invariants=true", SMALL_CACHE, "engine.max_model_len=6000"],
    "full gateway": ["workload.limit=1500", "gateway=full", "fleet.replicas=3"],
    "hedged": ["workload.limit=800", "gateway=hedged", "fleet.replicas=4"],
    "fair queue": ["workload.limit=800", "gateway=fair_queue", "fleet.replicas=2"],
    "retry storm": ["experiment=retry_storm", "workload.limit=1500"],
    "routing": ["experiment=routing", "workload.limit=1000"],
    "spot": ["experiment=spot_share", "workload.limit=1500"],
    "upgrade": ["experiment=upgrade_day", "workload.limit=3000"],
    "least tokens": [
        "workload.limit=2000", "workload.rate_scale=8", "fleet.replicas=16", "gateway.router={kind: least_tokens_in_flight}",
    ],
    "least requests": ["workload.limit=1000", "workload.rate_scale=8", "fleet.replicas=16", "gateway.router={kind: least_requests}"],
    "timeouts": ["workload.limit=1500", "workload.rate_scale=4", "gateway.client_timeout_s=8", "gateway.max_queue_requests=40"],
}  # fmt: skip


def digest(result: Result) -> str:
    """A hash of tables, events, histogram and counts; how fast the run was is left out."""
    found = hashlib.sha256()
    tables = [result.requests, result.replicas, result.timeseries, pd.DataFrame() if result.steps is None else result.steps]
    for table in tables:
        file = io.BytesIO()
        table.to_parquet(file, index=False)
        found.update(file.getvalue())
    for array in (result.itl.edges_s, result.itl.counts):
        found.update(np.ascontiguousarray(array).tobytes())
    rest = [result.events, result.end_s, result.last_arrival_s, result.engine_steps, result.stopped_early, result.gateway]
    found.update(json.dumps([*rest, result.api_bill_usd], default=float, sort_keys=True).encode())
    return found.hexdigest()[:16]


def main(names: list[str]) -> None:
    """Print ``digest name`` of every scenario, or of those named."""
    for name in names or SCENARIOS:
        print(digest(simulate(composed_scenario(SCENARIOS[name]))), name, flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
