"""Prices and bills: GPU-seconds, tokens and tiers to dollars. No clock."""

from sim.cost.bill import (
    committed_usd_per_hour,
    fleet_usd_per_hour,
    gpu_hours,
    gpus_per_replica,
    instances_needed,
    pool_usd_per_hour,
    usd_per_gpu_hour,
)
from sim.cost.formula import break_even_tokens_per_s, cost_per_1m_usd, kv_bytes_per_token

__all__ = [
    "break_even_tokens_per_s", "committed_usd_per_hour", "cost_per_1m_usd", "fleet_usd_per_hour",
    "gpu_hours", "gpus_per_replica", "instances_needed", "kv_bytes_per_token", "pool_usd_per_hour",
    "usd_per_gpu_hour",
]  # fmt: skip
