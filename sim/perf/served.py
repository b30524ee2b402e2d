"""``served_model``: the model as an engine loads it: quantised while loading, with states of another type."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from typing import Literal

from sim.spec.engine import EngineSpec
from sim.spec.layers import PartWeights, WeightDtype
from sim.spec.model import ModelSpec


def served_model(model: ModelSpec, engine: EngineSpec) -> ModelSpec:
    """``model`` with ``engine.quantization`` in every part of its layers (a checkpoint that is quantised already stays as it
    is: vLLM takes the method of the file) and its states in ``engine.mamba_ssm_cache_dtype``."""
    if engine.mamba_ssm_cache_dtype != "auto":
        model = _with_states(model, engine.mamba_ssm_cache_dtype)
    if engine.quantization is None or model.weight_dtype not in ("bf16", "fp16"):
        return model
    return _quantised(model, engine.quantization)


@lru_cache(maxsize=64)
def _with_states(model: ModelSpec, dtype: Literal["bf16", "fp16", "fp32"]) -> ModelSpec:
    stack = tuple(
        replace(group, state=replace(group.state, state_dtype=dtype)) if group.state is not None else group
        for group in model.stack
    )
    return replace(model, stack=stack)


@lru_cache(maxsize=64)
def _quantised(model: ModelSpec, dtype: WeightDtype) -> ModelSpec:
    stack = tuple(replace(group, weights=PartWeights()) for group in model.stack)
    return replace(model, weight_dtype=dtype, stack=stack)
