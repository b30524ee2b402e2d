"""``served_model``: the model as an engine loads it, where the engine quantises it while loading."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache

from sim.spec.engine import EngineSpec
from sim.spec.layers import PartWeights, WeightDtype
from sim.spec.model import ModelSpec


def served_model(model: ModelSpec, engine: EngineSpec) -> ModelSpec:
    """``model`` with ``engine.quantization`` in every part of its layers; a checkpoint that is quantised already stays as it
    is (vLLM takes the method of the file)."""
    if engine.quantization is None or model.weight_dtype not in ("bf16", "fp16"):
        return model
    return _quantised(model, engine.quantization)


@lru_cache(maxsize=64)
def _quantised(model: ModelSpec, dtype: WeightDtype) -> ModelSpec:
    stack = tuple(replace(group, weights=PartWeights()) for group in model.stack)
    return replace(model, weight_dtype=dtype, stack=stack)
