"""Kernels that neither a matrix, nor attention, nor the elementwise work of every model accounts for.

    norm of Q and K    QK_NORM_S a layer that has one: Qwen3-14B and -32B against Llama, Mistral and Mixtral on H100s
                       (vLLM 0.12 and 0.15) are that much slower a layer at every batch
"""

from __future__ import annotations

from sim.spec.layers import FullAttention
from sim.spec.model import ModelSpec

QK_NORM_S = 1.2e-5
"""Fitted by ``experiments/step_time_fit/fit_host.py`` (2026-11-26)."""


def small_kernels_s(model: ModelSpec) -> float:
    """Seconds of a step, whatever its size."""
    normed = (g.count for g in model.stack if isinstance(g.attention, FullAttention) and g.attention.qk_norm)
    return QK_NORM_S * sum(normed)
