"""The drafting part of an engine with speculation: its geometry, and what its weights and cache take.

    draft_model   a model of its own: all its weights, all its KV
    mtp           the checkpoint's prediction layers (where none are known: one like the target's last), and a matrix of
                  2 H x H for each; embedding and head are the target's
    eagle         one layer like the target's, in 16 bits, its mixture of experts as one dense part of the same active
                  width, and a matrix of 2 H x H; embedding and head are the target's
    eagle3        the same with Q, K and V read from 2 H, 3 H x H in front, and a head of its own over a reduced vocabulary
    ngram         nothing

Every token leaves KV in the drafting layers too: 33/32 of the target's for EAGLE-3 on Llama-3.1-8B. Checked against the
parameters of a published draft: EAGLE3-LLaMA3.1-Instruct-8B, 0.43B. Source: vLLM 0.33 ``model_executor/models``
(``llama_eagle3.py``, ``deepseek_mtp.py``), ``v1/spec_decode/eagle.py``.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from sim.perf.geometry import ExpertSplit, kv_bytes_per_token_per_gpu, weights_bytes_per_gpu
from sim.spec.engine import EngineSpec
from sim.spec.layers import FeedForward, FullAttention, LayerGroup, PartWeights
from sim.spec.model import ModelSpec

EAGLE3_VOCABULARY = 32_000
"""Entries of the head of published EAGLE-3 drafts."""


@dataclass(frozen=True)
class Drafting:
    """What drafts."""

    model: ModelSpec
    """Its layers and its head, as a model of its own."""
    beside_parameters: int
    """Outside the layers: what joins the target's states to the embedding; 16 bits."""
    own_embedding: bool
    own_head: bool


def drafting_of(model: ModelSpec, engine: EngineSpec) -> Drafting | None:
    """The drafting part of ``engine`` serving ``model``; None where nothing runs on the GPU for it."""
    spec = engine.speculative
    if not spec.drafts or not spec.draft_layers:
        return None
    if spec.model is not None:
        whole = spec.method == "draft_model"
        return Drafting(spec.model, 0, whole, whole or spec.method == "eagle3")
    hidden = model.hidden_size
    if spec.method == "mtp":
        layers = model.prediction_layers or (replace(model.stack[-1], count=spec.num_nextn_predict_layers),)
        modules = sum(group.count for group in layers)
        return Drafting(_with_stack(model, layers, model.vocab_size), 2 * hidden * hidden * modules, False, False)
    layer = _dense(model.stack[-1])
    plain = replace(model, weight_dtype="bf16", head_weights=None, embedding_weights=None)
    if spec.method == "eagle":
        return Drafting(_with_stack(plain, (layer,), model.vocab_size), 2 * hidden * hidden, False, False)
    vocabulary = spec.draft_vocab_size or min(EAGLE3_VOCABULARY, model.vocab_size)
    beside = 3 * hidden * hidden + _wider_inputs(model, layer)
    return Drafting(_with_stack(plain, (layer,), vocabulary), beside, False, True)


def draft_parallel_size(engine: EngineSpec) -> int:
    """GPUs that share the drafting layers."""
    return engine.speculative.draft_tensor_parallel_size or engine.tensor_parallel_size


def draft_weights_bytes(drafting: Drafting, engine: EngineSpec) -> float:
    """Bytes on one GPU of everything that the draft does not share with the target. Its experts lie as the target's do."""
    tensor_parallel = draft_parallel_size(engine)
    shared = replace(drafting.model, vocab_size=1, tied_embeddings=True)
    experts = ExpertSplit(tensor_parallel)
    if tensor_parallel == engine.tensor_parallel_size:
        experts = ExpertSplit(engine.expert_ranks, engine.enable_expert_parallel, engine.num_redundant_experts)
    layers = weights_bytes_per_gpu(shared, tensor_parallel, towers="none", experts=experts)
    entries = drafting.model.vocab_size * drafting.model.hidden_size * 2.0 / tensor_parallel
    tied = drafting.model.tied_embeddings and drafting.own_embedding
    ends = (drafting.own_embedding + drafting.own_head - tied) * entries
    return layers + ends + 2.0 * drafting.beside_parameters / tensor_parallel


def draft_kv_share(model: ModelSpec, engine: EngineSpec) -> float:
    """KV bytes that a token leaves in the drafting layers, as a share of the target's, on one GPU."""
    drafting = drafting_of(model, engine)
    if drafting is None:
        return 0.0
    own = kv_bytes_per_token_per_gpu(drafting.model, engine.kv_cache_dtype, draft_parallel_size(engine))
    target = kv_bytes_per_token_per_gpu(
        model, engine.kv_cache_dtype, engine.tensor_parallel_size, engine.pipeline_parallel_size
    )
    return own / target if target else 0.0


def _with_stack(model: ModelSpec, layers: tuple[LayerGroup, ...], vocabulary: int) -> ModelSpec:
    return replace(
        model, name=f"draft of {model.name}", stack=layers, vocab_size=vocabulary, other_parameters=0, towers=(),
        prediction_layers=(), tied_embeddings=False,
    )  # fmt: skip


def _dense(group: LayerGroup) -> LayerGroup:
    """One layer like those of ``group``, without experts, windows and number types of its own."""
    attention, part = group.attention, group.feed_forward
    if isinstance(attention, FullAttention):
        attention = replace(attention, window=None, shares_kv=False)
    if part is not None:
        width = part.width + part.shared_width + part.active_experts * part.expert_width
        part = FeedForward(width=width, gated=part.gated)
    return LayerGroup(count=1, attention=attention, feed_forward=part, norms=group.norms + 1, weights=PartWeights())


def _wider_inputs(model: ModelSpec, layer: LayerGroup) -> int:
    """Parameters of Q, K and V that read the second half of a doubled input."""
    attention = layer.attention
    if not isinstance(attention, FullAttention):
        return 0
    value = attention.v_head_dim or attention.head_dim
    return model.hidden_size * (attention.heads * attention.head_dim + attention.kv_heads * (attention.head_dim + value))
