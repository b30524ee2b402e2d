"""What a model is, as far as capacity goes: a stack of layers between an embedding and a head.

Groups of equal layers, each an attention x a feed-forward part (``sim.spec.layers``); parameters, weight bytes, KV
bytes, state bytes, FLOPs and step time are sums over the groups (``sim.perf``), never stored, and nothing asks for a
model's name. Llama-3.1-8B is

    stack:
      - {count: 32, attention: {heads: 32, kv_heads: 8, head_dim: 128}, feed_forward: {width: 14336}}
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import field
from typing import Any, Literal

from pydantic import Field, TypeAdapter, ValidationError, model_validator
from pydantic.dataclasses import dataclass

from sim.errors import ConfigError
from sim.spec.layers import LARGEST, LayerGroup, Tower, WeightDtype, Weights
from sim.spec.strict import STRICT


@dataclass(frozen=True, kw_only=True, config=STRICT)
class ModelSpec:
    """Geometry and number types of a decoder."""

    name: str
    """Preset name, e.g. ``llama3_8b``, or that of the file it was read from; it decides nothing."""
    hidden_size: int = Field(ge=1, le=LARGEST)
    """Width of the residual stream."""
    vocab_size: int = Field(ge=1, le=1_000_000_000)
    """Entries of the embedding."""
    max_context: int = Field(ge=2, le=1_000_000_000_000)
    """Longest sequence (prompt + answer) the model was made for, tokens."""
    unset_max_model_len: int | None = Field(default=None, ge=2)
    """What the engine takes where ``engine.max_model_len`` is unset, tokens; null = ``max_context``."""
    stack: tuple[LayerGroup, ...] = Field(min_length=1)
    """Groups of equal layers."""
    tied_embeddings: bool = False
    """The output head is the embedding matrix."""
    weight_dtype: WeightDtype = "bf16"
    """Of every matrix in the layers that does not state its own; where an override states it, of all."""
    embedding_weights: Weights | None = None
    """How the embedding is stored; None = 16 bits."""
    head_weights: Weights | None = None
    """How the output head is stored; None = 16 bits."""
    other_parameters: int = Field(default=0, ge=0)
    """Outside the layers, 16 bits: position and per-layer embeddings."""
    generates: bool = True
    """False = it embeds, ranks or rewards: vLLM loads it without head and sampler, and answers have no tokens."""
    towers: tuple[Tower, ...] = ()
    """Encoders beside the language model, loaded with it."""
    prediction_layers: tuple[LayerGroup, ...] = ()
    """Extra layers that draft the tokens after the next (MTP). vLLM loads them with speculation only."""
    kv_cache_dtype: Literal["bf16", "fp8"] = "bf16"
    """What ``engine.kv_cache_dtype=auto`` stores: a checkpoint with scales for an fp8 cache says so."""
    hf_config: str | dict[str, Any] | None = field(default=None, hash=False)
    """Path of a Hugging Face ``config.json`` (or its folder), or its facts themselves: they replace the fields above."""
    read_as: str | None = None
    """Read ``hf_config`` as this ``model_type``, whatever it says itself; null = its own."""
    notes: tuple[str, ...] = ()
    """What was guessed or left out when the file was read; printed with the results."""
    source: str = ""
    """Where the geometry comes from."""

    @property
    def layer_count(self) -> int:
        """Layers of the stack."""
        return sum(group.count for group in self.stack)

    @property
    def has_states(self) -> bool:
        """Some layers are recurrent."""
        return any(group.state is not None for group in self.stack)

    @model_validator(mode="after")
    def _check(self) -> ModelSpec:
        if all(group.attention is None and group.state is None for group in self.stack):
            raise ValueError("stack needs at least one layer with an attention or a recurrent state")
        return self


_MODEL = TypeAdapter(ModelSpec)


def parse_model(data: Mapping[str, Any]) -> ModelSpec:
    """The model that plain ``data`` describe.

    Raises:
        ConfigError: every mistake at once: dotted key, what was found, what is legal.
    """
    try:
        return _MODEL.validate_python(dict(data))
    except ValidationError as error:
        lines = []
        for item in error.errors():
            key = ".".join(["model", *(str(part) for part in item["loc"])])
            why = str(item["ctx"]["error"]) if item["type"] == "value_error" else item["msg"]
            found = "" if item["type"] in ("missing", "value_error") else f", but got {item['input']!r}"
            lines.append(f"{key}: {why}{found}")
        raise ConfigError("\n".join(lines)) from None


def model_to_data(model: ModelSpec) -> dict[str, Any]:
    """Plain data from which ``parse_model`` makes the same model again."""
    found: dict[str, Any] = _MODEL.dump_python(model, mode="json")
    return found


def model_reference(model: ModelSpec) -> str:
    """The Hugging Face name that a preset's source states, or the folder of the file that was read."""
    named = re.match(r"([\w.-]+/[\w.-]+)", model.source)
    if isinstance(model.hf_config, str):
        return model.hf_config.removesuffix("/config.json")
    return named[1] if named is not None else model.name
