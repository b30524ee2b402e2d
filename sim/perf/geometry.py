"""What follows from a model's geometry alone: parameters, weight bytes, KV bytes.

Parameters of one layer: attention ``H x (heads + 2 kv_heads) x d + heads x d x H`` (MLA: its low-rank projections), MLP
``3 H I`` when gated, else ``2 H I``; of a mixture ``experts x 3 H I_e + H x experts`` (router) plus the shared experts;
two norms of ``H``. Outside the layers: the embedding ``V x H``, again for the output head unless tied, one norm.
KV bytes of a token: ``2 x layers x kv_heads x head_dim x bytes``; MLA keeps one latent of ``kv_lora_rank + rope`` a
layer.

Leaves out: vocabulary padding, rotary tables, multimodal towers, multi-token-prediction layers.
Source: the published architectures; checked against published parameter counts in ``tests/golden/test_model_facts.py``.
"""

from __future__ import annotations

from typing import NamedTuple

from sim.spec.model import ModelSpec, WeightDtype
from sim.units import DTYPE_BYTES

_GROUP_SCALE_BYTES: dict[str, float] = {
    "int4": (2.0 + 0.5) / 128,  # one fp16 scale and one 4-bit zero point a group of 128 (GPTQ, AWQ)
    "fp4": 1.0 / 16,  # one fp8 scale a group of 16 (NVFP4)
}


class LayerParameters(NamedTuple):
    """Parameters by what happens to them under tensor parallelism and quantisation."""

    attention_in: int
    """Q, K, V projections (MLA: everything before the attention)."""
    attention_out: int
    dense_mlp: int
    """One dense MLP layer, or 0 when every layer is a mixture."""
    experts: int
    """All routed experts of one mixture layer."""
    one_expert: int
    shared_experts: int
    router: int
    norms: int


def layer_parameters(model: ModelSpec) -> LayerParameters:
    """Parameters of one layer, by group."""
    hidden = model.hidden_size
    if model.attention == "mla":
        nope, rope = model.mla_qk_nope_head_dim or 0, model.mla_qk_rope_head_dim or 0
        latent, value = model.mla_kv_lora_rank or 0, model.mla_v_head_dim or model.head_dim
        if model.mla_q_lora_rank:
            query = hidden * model.mla_q_lora_rank + model.mla_q_lora_rank * (1 + model.heads * (nope + rope))
        else:
            query = hidden * model.heads * (nope + rope)
        attention_in = query + hidden * (latent + rope) + latent * (1 + model.heads * (nope + value))
        attention_out = model.heads * value * hidden
    else:
        width = (model.heads + 2 * model.kv_heads) * model.head_dim
        attention_in = hidden * width + (width if model.qkv_bias else 0)
        attention_out = model.heads * model.head_dim * hidden
    matrices = 3 if model.gated_mlp else 2
    one_expert = matrices * hidden * model.moe_intermediate_size if model.moe_experts else 0
    has_dense_layer = not model.moe_experts or model.moe_dense_first_layers > 0
    return LayerParameters(
        attention_in=attention_in,
        attention_out=attention_out,
        dense_mlp=matrices * hidden * model.intermediate_size if has_dense_layer else 0,
        experts=one_expert * model.moe_experts,
        one_expert=one_expert,
        shared_experts=one_expert * model.moe_shared_experts,
        router=hidden * model.moe_experts,
        norms=2 * hidden,
    )


def moe_layers(model: ModelSpec) -> int:
    """Layers whose MLP is a mixture of experts."""
    return model.layers - model.moe_dense_first_layers if model.moe_experts else 0


def parameter_count(model: ModelSpec) -> int:
    """All parameters of the model."""
    layer = layer_parameters(model)
    mixtures = moe_layers(model)
    embeddings = model.vocab_size * model.hidden_size * (1 if model.tied_embeddings else 2)
    per_layer = layer.attention_in + layer.attention_out + layer.norms
    dense = (model.layers - mixtures) * layer.dense_mlp
    mixed = mixtures * (layer.experts + layer.shared_experts + layer.router)
    return model.layers * per_layer + dense + mixed + embeddings + model.hidden_size


def weight_element_bytes(dtype: WeightDtype) -> float:
    """Bytes of one weight of a quantised matrix, group scales included."""
    return DTYPE_BYTES[dtype] + _GROUP_SCALE_BYTES.get(dtype, 0.0)


def weights_bytes_per_gpu(model: ModelSpec, tensor_parallel: int = 1, pipeline_parallel: int = 1) -> float:
    """Weight bytes of the fullest GPU.

    Matrices are split over the tensor-parallel ranks (K and V heads are repeated where there are fewer than ranks), the
    layers over the pipeline stages; embedding, head, router and norms stay in 16 bits whatever the weight type.
    """
    layer = layer_parameters(model)
    quantised = weight_element_bytes(model.weight_dtype)
    matrix = (layer.attention_in + layer.attention_out) / tensor_parallel
    if model.attention != "mla" and tensor_parallel > model.kv_heads:
        kv_parameters = 2 * model.hidden_size * model.kv_heads * model.head_dim
        matrix += kv_parameters * (1 / model.kv_heads - 1 / tensor_parallel)
    elif model.attention == "mla":
        latent = model.hidden_size * ((model.mla_kv_lora_rank or 0) + (model.mla_qk_rope_head_dim or 0))
        latent += model.hidden_size * (model.mla_q_lora_rank or 0)
        matrix += latent * (1 - 1 / tensor_parallel)
    dense_layers = model.layers - moe_layers(model)
    mlp = dense_layers * layer.dense_mlp + moe_layers(model) * (layer.experts + layer.shared_experts)
    bytes_per_layer = (
        quantised * (matrix + mlp / model.layers / tensor_parallel)
        + 2.0 * (layer.norms + layer.router * moe_layers(model) / model.layers)
    )  # fmt: skip
    layers_on_gpu = -(-model.layers // pipeline_parallel)
    embedding = 2.0 * model.vocab_size * model.hidden_size / tensor_parallel
    if pipeline_parallel == 1 and not model.tied_embeddings:
        embedding *= 2  # input embedding and output head live on the same GPU
    return layers_on_gpu * bytes_per_layer + embedding + 2.0 * model.hidden_size


def kv_element_bytes(kv_dtype: str) -> float:
    """Bytes of one stored K or V element; ``auto`` is 16 bits (the model's own activation type)."""
    return 2.0 if kv_dtype == "auto" else DTYPE_BYTES[kv_dtype]


def kv_bytes_per_token(model: ModelSpec, kv_dtype: str = "auto") -> float:
    """KV bytes of one token in the whole model (all layers, all heads, every GPU together, nothing repeated)."""
    return model.layers * _kv_elements_per_layer(model, 1) * kv_element_bytes(kv_dtype)


def kv_bytes_per_token_per_gpu(
    model: ModelSpec, kv_dtype: str = "auto", tensor_parallel: int = 1, pipeline_parallel: int = 1
) -> float:
    """KV bytes of one token on one GPU of the stage with most layers.

    A GPU holds at least one K/V head, so ranks beyond ``kv_heads`` save nothing; an MLA latent is not split at all.
    """
    layers_on_gpu = -(-model.layers // pipeline_parallel)
    return layers_on_gpu * _kv_elements_per_layer(model, tensor_parallel) * kv_element_bytes(kv_dtype)


def _kv_elements_per_layer(model: ModelSpec, tensor_parallel: int) -> int:
    if model.attention == "mla":
        return (model.mla_kv_lora_rank or 0) + (model.mla_qk_rope_head_dim or 0)
    return 2 * max(1, model.kv_heads // tensor_parallel) * model.head_dim
