"""Seconds that the routed experts of a mixture take, where several ranks share them.

    a GPU of n reads     whole experts:  its ceil(slots / n) experts, as far as a token chooses them
                         slices:         1/n of every expert that a token chooses
    and computes         rows = tokens of all ranks x active / n, times the imbalance where experts are whole

``slots`` are the experts and their redundant copies.
"""

from __future__ import annotations

import numpy as np

from sim.perf.expert_load import imbalance
from sim.perf.floors import expected_experts
from sim.perf.matrices import group_matrices
from sim.perf.mixture import mixture_groups
from sim.perf.roofline import Array, Efficiencies, matrix_s
from sim.spec.engine import EngineSpec
from sim.spec.gpu import GpuSpec
from sim.spec.layers import FeedForward
from sim.spec.model import ModelSpec


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
