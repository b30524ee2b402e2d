"""The routed experts of a mixture apart from everything else, where several ranks share them.

    a GPU of n reads     whole experts:  its ceil(slots / n) experts, as far as a token chooses them
                         slices:         1/n of every expert that a token chooses
    and computes         rows = tokens of all ranks x active / n, times the imbalance where experts are whole

``slots`` are the experts and their redundant copies. Everything else (attention, dense parts, shared experts, router, head)
is ``without_experts``, replicated over the ranks and split by tensor parallelism within each.
"""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache

import numpy as np

from sim.errors import ConfigError
from sim.perf.expert_load import imbalance
from sim.perf.floors import expected_experts
from sim.perf.matrices import group_matrices
from sim.perf.roofline import Array, Efficiencies, matrix_s
from sim.spec.engine import EngineSpec
from sim.spec.gpu import GpuSpec
from sim.spec.layers import FeedForward, LayerGroup
from sim.spec.model import ModelSpec


def mixture_groups(model: ModelSpec) -> list[tuple[LayerGroup, FeedForward]]:
    """The groups of layers with routed experts; none = the model is dense."""
    return [(g, g.feed_forward) for g in model.stack if g.feed_forward is not None and g.feed_forward.experts]


def steps_together(model: ModelSpec, engine: EngineSpec) -> bool:
    """Whether the ranks of ``engine`` share experts, so that they make every step together."""
    return engine.data_parallel_size > 1 and bool(mixture_groups(model))


@lru_cache(maxsize=64)
def without_experts(model: ModelSpec) -> ModelSpec:
    """``model`` with no routed expert in it."""
    return replace(model, stack=tuple(_plain(group) for group in model.stack))


def _plain(group: LayerGroup) -> LayerGroup:
    part = group.feed_forward
    if part is None or not part.experts:
        return group
    rest = replace(part, experts=0, active_experts=0, expert_width=0, expert_hidden_size=None)
    return replace(group, feed_forward=rest if rest.width or rest.shared_width else None)


def group_imbalance(part: FeedForward, engine: EngineSpec) -> float:
    """Tokens of the fullest GPU over their mean in a layer of ``part``; slices are even."""
    if not engine.enable_expert_parallel:
        return 1.0
    return imbalance(
        part.experts, part.active_experts, engine.expert_ranks, engine.expert_imbalance_alpha,
        engine.num_redundant_experts, by_load=engine.enable_eplb,
    )  # fmt: skip


def experts_s(model: ModelSpec, gpu: GpuSpec, engine: EngineSpec, tokens: Array, eff: Efficiencies) -> Array:
    """Seconds of all layers' routed experts for ``tokens`` tokens of all ranks together; vectorised."""
    gpus, total = engine.expert_ranks, np.zeros_like(tokens)
    for group, part in mixture_groups(model):
        chosen = np.array([expected_experts(part.experts, part.active_experts, count) for count in tokens])
        rows = tokens * part.active_experts
        if engine.enable_expert_parallel:
            touched = np.maximum(chosen * slots_per_gpu(part, engine) / part.experts, 1.0)
            rows, split = rows / gpus * group_imbalance(part, engine), 1
        else:
            touched, split = chosen, gpus
        for matrix in group_matrices(model, group):
            if matrix.copies > 1:
                total += matrix.layers * matrix_s(matrix, gpu, split, eff, rows / touched, touched)
        total += group.count * (touched * eff.expert_s + eff.expert_layer_s)
    return np.asarray(np.maximum.accumulate(total))


def slots_per_gpu(part: FeedForward, engine: EngineSpec) -> float:
    """Whole experts, redundant copies among them, that the fullest GPU holds."""
    return -(-(part.experts + engine.num_redundant_experts) // engine.expert_ranks)


def check_experts(model: ModelSpec, engine: EngineSpec) -> None:
    """Refuse expert parallelism that the server would refuse, or that is not modelled.

    Raises:
        ConfigError: with the arithmetic.
    """
    mixtures, gpus = mixture_groups(model), engine.expert_ranks
    if engine.enable_expert_parallel and not mixtures:
        raise ConfigError(f"engine.enable_expert_parallel: {model.name} is dense, there are no experts to spread")
    if engine.data_parallel_size > 1 and mixtures and engine.pipeline_parallel_size > 1:
        raise ConfigError(
            "engine.data_parallel_size: ranks of a mixture with pipeline stages are not modelled, but got "
            f"{engine.data_parallel_size} ranks of {engine.pipeline_parallel_size} stages"
        )
    if engine.data_parallel_size > 1 and mixtures and (engine.speculative.drafts or engine.max_loras):
        what = "speculation" if engine.speculative.drafts else "LoRA adapters"
        raise ConfigError(
            f"engine.data_parallel_size: {what} on ranks that step together is not modelled: take 1 rank, not "
            f"{engine.data_parallel_size}, or leave it out"
        )
    for _, part in mixtures if engine.enable_expert_parallel else ():
        slots = part.experts + engine.num_redundant_experts
        if gpus > slots:
            raise ConfigError(
                f"engine.enable_expert_parallel: {gpus} GPUs (tensor x data parallel) for {slots} experts of {model.name}: "
                "a GPU without an expert; more engine.num_redundant_experts fill it"
            )
        if engine.enable_eplb and slots % gpus:
            raise ConfigError(
                f"engine.num_redundant_experts: {part.experts} + {engine.num_redundant_experts} experts must be a multiple "
                f"of the {gpus} GPUs (tensor x data parallel), but {slots} / {gpus} = {slots / gpus:.2f}; "
                f"{-slots % gpus + engine.num_redundant_experts} would do"
            )
