"""Kernels that neither a matrix, nor attention, nor the elementwise work of every model accounts for.

    norm of Q and K    QK_NORM_S a layer that has one: Qwen3-14B and -32B against Llama, Mistral and Mixtral on H100s
                       (vLLM 0.12 and 0.15) are that much slower a layer at every batch
    sort of the logits SORTED_BYTES / bandwidth a logit, where requests sample from the top and the release sorts for that
                       (``engine.top_p_sampling``): dense models of vLLM 0.11 on H100s, batches of 8 to 500
"""

from __future__ import annotations

from sim.spec.engine import EngineSpec
from sim.spec.gpu import GpuSpec
from sim.spec.layers import FullAttention
from sim.spec.model import ModelSpec
from sim.spec.releases import parse_version

QK_NORM_S = 1.2e-5
"""Fitted by ``experiments/step_time_fit/fit_host.py`` (2026-11-26)."""
SORTED_BYTES = 640.0
"""Memory traffic that sorting one logit is worth: 0.19 ns on an H100 (``experiments/step_time_fit/fit_power.py``)."""
_FIRST_WITHOUT_SORT = (0, 16)
"""FlashInfer's sampler by default (dated in ``sim.spec.releases``)."""


def small_kernels_s(model: ModelSpec) -> float:
    """Seconds of a step, whatever its size."""
    normed = (g.count for g in model.stack if isinstance(g.attention, FullAttention) and g.attention.qk_norm)
    return QK_NORM_S * sum(normed)


def sort_s(model: ModelSpec, gpu: GpuSpec, engine: EngineSpec) -> float:
    """Seconds a sequence and step that the sampler sorts."""
    if not engine.top_p_sampling or engine.runtime != "vllm" or parse_version(engine.version) >= _FIRST_WITHOUT_SORT:
        return 0.0
    return SORTED_BYTES * model.vocab_size / (gpu.bandwidth_gb_s * 1e9)
