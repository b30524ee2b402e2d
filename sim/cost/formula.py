"""The closed formula of a capacity spreadsheet, and the KV arithmetic beside it.

    $ per 1M tokens = GPU $ per hour / (effective tokens per second x 3600) x 1,000,000 x (1 + overhead)
    KV bytes per token = 2 (keys and values) x layers x KV heads x head dimension x bytes per element

Effective means after batching, safety passes and retries: the number that a simulation finds and a spreadsheet assumes.
Left out: idle hours, cold starts, latency. Multi-head and grouped-query attention only (latent attention caches one
compressed vector instead: ``sim.perf``).
"""

from __future__ import annotations

import math

from sim.errors import ConfigError
from sim.units import SECONDS_PER_HOUR, TOKENS_PER_MILLION


def cost_per_1m_usd(usd_per_hour: float, tokens_per_s: float, overhead_fraction: float = 0.0) -> float:
    """US dollars per million tokens of machines that cost ``usd_per_hour`` together and deliver ``tokens_per_s``
    together; ``overhead_fraction`` is added on top (0.3 = software, storage, operations and safety at 30 %)."""
    _require(usd_per_hour >= 0, "usd_per_hour >= 0", usd_per_hour)
    _require(tokens_per_s > 0, "tokens_per_s > 0", tokens_per_s)
    _require(overhead_fraction >= 0, "overhead_fraction >= 0", overhead_fraction)
    return usd_per_hour / (tokens_per_s * SECONDS_PER_HOUR) * TOKENS_PER_MILLION * (1.0 + overhead_fraction)


def break_even_tokens_per_s(usd_per_hour: float, usd_per_1m_tokens: float) -> float:
    """Tokens per second that the machines must deliver, hour after hour, to cost ``usd_per_1m_tokens``."""
    _require(usd_per_hour >= 0, "usd_per_hour >= 0", usd_per_hour)
    _require(usd_per_1m_tokens > 0, "usd_per_1m_tokens > 0", usd_per_1m_tokens)
    return usd_per_hour * TOKENS_PER_MILLION / (usd_per_1m_tokens * SECONDS_PER_HOUR)


def kv_bytes_per_token(layers: int, kv_heads: int, head_dim: int, bytes_per_element: float) -> float:
    """Bytes of key-value cache that one token of context holds, all layers together, over all GPUs of a replica."""
    for name, value in (("layers", layers), ("kv_heads", kv_heads), ("head_dim", head_dim)):
        _require(value >= 1, f"{name} >= 1", value)
    _require(bytes_per_element > 0, "bytes_per_element > 0", bytes_per_element)
    return 2 * layers * kv_heads * head_dim * bytes_per_element


def _require(holds: bool, rule: str, value: float) -> None:
    if not holds or not math.isfinite(value):
        raise ConfigError(f"`{rule}` must hold and be finite, but got {value!r}")
