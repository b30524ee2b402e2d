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
    if (spec.drafts or engine.max_loras) and steps_together(model, engine):
        what = "engine.speculative" if spec.drafts else "engine.max_loras"
        raise ConfigError(
            f"{what}: not modelled for ranks of a mixture that step together, but got data_parallel_size="
            f"{engine.data_parallel_size} and enable_expert_parallel={str(engine.enable_expert_parallel).lower()}"
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
