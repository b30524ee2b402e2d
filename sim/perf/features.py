"""``check_features``: speculation and adapters that an engine cannot have, refused; options that they decide, decided."""

from __future__ import annotations

from dataclasses import replace

from sim.errors import ConfigError
from sim.perf.mixture import steps_together
from sim.spec.engine import EngineSpec
from sim.spec.layers import CompressedAttention
from sim.spec.model import ModelSpec


def check_features(engine: EngineSpec, model: ModelSpec) -> EngineSpec:
    """``engine`` with what speculation decides: n-gram drafts are not scheduled asynchronously, as in vLLM.

    Raises:
        ConfigError: a combination that vLLM refuses, or that is not modelled.
    """
    spec = engine.speculative
    spread = steps_together(model, engine) or (engine.enable_expert_parallel and engine.expert_ranks > 1)
    if engine.max_loras and engine.lora.modules == "all" and spread:
        raise ConfigError(
            f"engine.max_loras: the experts of {model.name} lie on {engine.expert_ranks} GPUs (tensor x data parallel), and "
            "vLLM has no adapters of experts that are spread so (it asserts this in lora/layers/fused_moe.py): adapters of "
            "attention alone would do (engine.lora.modules=attention), or 1 rank without engine.enable_expert_parallel"
        )
    if engine.max_loras and (engine.lora.rank or 0) > engine.max_lora_rank:
        raise ConfigError(
            f"engine.lora.rank: slots hold adapters up to engine.max_lora_rank={engine.max_lora_rank}, as in vLLM, but got "
            f"{engine.lora.rank}"
        )
    if engine.max_loras and any(isinstance(group.attention, CompressedAttention) for group in model.stack):
        raise ConfigError(f"engine.max_loras: adapters of compressed attention ({model.name}) are not modelled")
    if not spec.drafts:
        return engine
    shared = spec.draft_tensor_parallel_size
    if shared not in (None, 1, engine.tensor_parallel_size):
        raise ConfigError(
            "engine.speculative.draft_tensor_parallel_size: 1 or that of the target "
            f"({engine.tensor_parallel_size}), as in vLLM, but got {shared}"
        )
    if spec.method == "draft_model":
        _check_draft_model(engine, model)
    if spec.draft_layers and engine.pipeline_parallel_size > 1:
        raise ConfigError(
            f"engine.speculative.method: {spec.method} drafts with layers of its own, which vLLM does not run in pipeline "
            f"stages, but got pipeline_parallel_size={engine.pipeline_parallel_size}"
        )
    return replace(engine, async_scheduling=False) if spec.method == "ngram" and engine.async_scheduling else engine


def _check_draft_model(engine: EngineSpec, model: ModelSpec) -> None:
    draft = engine.speculative.model
    if draft is None:
        raise ConfigError("engine.speculative.model: method draft_model needs the draft's geometry, but got none")
    if draft.vocab_size != model.vocab_size:
        raise ConfigError(
            f"engine.speculative.model: draft and target must share a vocabulary, but {draft.name} has "
            f"{draft.vocab_size:,} entries and {model.name} {model.vocab_size:,}"
        )
