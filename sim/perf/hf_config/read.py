"""``model_from_hf_config``: the language model in a ``config.json``, with what lies beside the file."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from sim.errors import ConfigError
from sim.perf.geometry import active_parameter_count, parameter_count
from sim.perf.hf_config import compressed, gemma
from sim.perf.hf_config.facts import Facts
from sim.perf.hf_config.layers import hidden_size, prediction_layers, stack_of
from sim.perf.hf_config.length import max_context
from sim.perf.hf_config.mistral_params import from_params, is_params
from sim.perf.hf_config.model_types import COMPOSED, FAMILIES, REFUSED, Family, family_of, nearest, text_type
from sim.perf.hf_config.number_types import NumberTypes, number_types
from sim.perf.hf_config.towers import towers_of
from sim.spec.layers import PartWeights
from sim.spec.model import ModelSpec, model_to_data, parse_model

_TEXT = ("text_config", "llm_config", "language_config", "thinker_config", "language_model", "lm_config", "decoder_config")
_QUANTISED = re.compile(r"(?i)(?<![a-z])(nvfp4|mxfp4|fp8|awq|gptq|w4a16|w8a8|w8a16|int4|int8|4bit|8bit)(?![a-z0-9])")
_SIZE = re.compile(r"(?i)(?<![a-z0-9.])(?:(\d+)x)?a?(\d+(?:\.\d+)?)(b\d?|m)(?![a-z0-9])")
_SIZE_IN_A_FILE_NAME = re.compile(r"(?i)(?<![a-z0-9.])(\d+)_(\d)b(?![a-z0-9])")
"""``qwen3_0_6b`` may mean 0.6B (and ``llama_3_8b`` does not mean 3.8B): one more reading, of which any may be right."""
_NOT_THAT_FAR = 1.3
_NO_TOKENS = re.compile(r"(ForSequenceClassification|ForTokenClassification|ForRewardModel|RewardModel|ForEmbedding)$")
_NAMED_SO = re.compile(r"(?i)(?<![a-z])(embed(ding)?|rerank(er)?|reward|rm)(?![a-z])")
_SILENT = "it embeds or ranks: no head is loaded and there is no sampler; model.generates=true reads it as a language model"
_SENTENCES = ("modules.json", "config_sentence_transformers.json")
"""Files by which vLLM tells that a repository's model embeds."""


def model_from_hf_config(path: str | Path, read_as: str | None = None, *, types_replaced: bool = False) -> ModelSpec:
    """The model that ``config.json`` at ``path`` (or in the folder ``path``) describes. ``read_as`` is the model type to
    read it as, whatever it says; ``types_replaced``: its quantisation, and one that its name says, do not matter.

    Raises:
        ConfigError: no such file, not JSON, a key that is missing or not what it should be, or an architecture or
            quantisation that is not modelled; the message names it.
    """
    file = Path(path)
    if file.is_dir():
        own = file / "params.json"
        file = own if own.is_file() and not (file / "config.json").is_file() else file / "config.json"
    outer = _object(file)
    beside_file = file.with_name("hf_quant_config.json")
    beside = _object(beside_file) if beside_file.is_file() else None
    name = file.parent.resolve().name if file.name in ("config.json", "params.json") else file.stem
    spec = model_from_facts(outer, str(file), name, beside=beside, read_as=read_as, types_replaced=types_replaced)
    if _NAMED_SO.search(name) or any(file.with_name(beside).is_file() for beside in _SENTENCES):
        spec = replace(spec, generates=False, notes=(*spec.notes, _SILENT))
    if read_as is None:
        _check_against_name(
            spec, name, stated=types_replaced or beside is not None or spec.weight_dtype not in ("bf16", "fp16")
        )
    return spec


def model_from_facts(
    outer: Mapping[str, Any],
    where: str,
    name: str,
    *,
    beside: dict[str, Any] | None = None,
    read_as: str | None = None,
    types_replaced: bool = False,
) -> ModelSpec:
    """The model that the facts of a ``config.json`` describe; ``where`` is how messages name it.

    Raises:
        ConfigError: as ``model_from_hf_config``.
    """
    try:
        if is_params(outer):
            outer = from_params(outer, where)
        whole = Facts(outer, where, kind=_kind(outer, where, read_as))
        text, family = _language_model(whole, read_as)
        return _model(whole, text, family, name, number_types(whole, text, beside, replaced=types_replaced), read_as)
    except ValidationError as error:  # sizes that are each legal and do not go together
        item = error.errors()[0]
        raise ConfigError(f"model.hf_config: {where}: {'.'.join(map(str, item['loc'])) or 'sizes'}: {item['msg']}") from None


def _model(whole: Facts, text: Facts, family: Family, name: str, types: NumberTypes, read_as: str | None) -> ModelSpec:
    stack = stack_of(text, family, types)
    hidden = hidden_size(text)
    longest, unset = max_context(text)
    towers, notes = towers_of(whole, whole.kind, hidden)
    layers = sum(group.count for group in stack)
    classes = whole.stated.get("architectures")
    silent = isinstance(classes, list) and any(isinstance(one, str) and _NO_TOKENS.search(one) for one in classes)
    positions = text.whole("n_positions", "max_position_embeddings") * hidden if family.positions else 0
    outside = gemma.outside_layers(text, hidden, layers)
    if family.attention == "compressed":
        outside += compressed.outside_layers(text, hidden)
        types = replace(types, kv_cache="fp8", notes=(*types.notes, *compressed.said(text)))
    return ModelSpec(
        name=name or whole.kind,
        hidden_size=hidden,
        vocab_size=text.size("padded_vocab_size", "vocab_size"),
        max_context=longest,
        unset_max_model_len=unset,
        stack=stack,
        tied_embeddings=_tied(whole, text, family),
        weight_dtype=types.label,
        head_weights=types.head,
        other_parameters=positions + outside,
        generates=not silent,
        towers=towers,
        prediction_layers=prediction_layers(text, stack, hidden),
        kv_cache_dtype=types.kv_cache,
        hf_config=whole.where,
        read_as=read_as,
        notes=(*types.notes, *notes, *([_SILENT] if silent else [])),
        source=whole.where,
    )


def model_from_data(stated: Mapping[str, Any], *, wins: Collection[str] | None = None) -> ModelSpec:
    """The model that plain data describe: a preset with its stack, or one whose ``hf_config`` is a path or the facts of a
    ``config.json``. Of what is stated beside ``hf_config``, the keys in ``wins`` (None = all) replace what it says; a
    stated ``weight_dtype`` replaces the type of every part.

    Raises:
        ConfigError: as ``model_from_hf_config``, or a key that is unknown or not legal.
    """
    source = stated.get("hf_config")
    if source is None:
        return parse_model(stated)
    read_as = stated.get("read_as")
    if read_as is not None and not isinstance(read_as, str):
        raise ConfigError(f"model.read_as: must be the name of a model type, but got {read_as!r}")
    over = {
        key: value for key, value in stated.items()
        if value is not None and key not in ("hf_config", "read_as", "stack") and (wins is None or key in wins)
    }  # fmt: skip
    if isinstance(source, str):
        found = model_from_hf_config(source, read_as, types_replaced="weight_dtype" in over)
    elif isinstance(source, Mapping):
        name = str(stated.get("name") or "hf_model")
        found = model_from_facts(source, name, name, read_as=read_as, types_replaced="weight_dtype" in over)
    else:
        raise ConfigError(f"model.hf_config: must be a path or an object of facts, but got {source!r}")
    dtype = over.pop("weight_dtype", None)
    if dtype is not None:
        found = with_weight_dtype(found, dtype)
    return parse_model({**model_to_data(found), **over, "hf_config": source}) if over or found.hf_config != source else found


def with_weight_dtype(model: ModelSpec, dtype: Any) -> ModelSpec:
    """``model`` with every part of its layers in ``dtype``, saying so."""
    stack = tuple(replace(group, weights=PartWeights()) for group in model.stack)
    note = f"weight_dtype={dtype} is stated: it replaces the {model.weight_dtype} of the file in every part of the layers"
    said = () if dtype == model.weight_dtype and stack == model.stack else (note,)
    data = model_to_data(replace(model, stack=stack, notes=(*model.notes, *said)))
    return parse_model({**data, "weight_dtype": dtype})


def _language_model(whole: Facts, read_as: str | None) -> tuple[Facts, Family]:
    """The configuration of the language model and the row of its type."""
    kind = whole.kind
    family = family_of(kind)
    if kind in REFUSED or (whole.flag("is_encoder_decoder") and read_as is None):
        reason = REFUSED.get(kind, "an encoder-decoder: its cross-attention cache and encoder pass are not modelled")
        raise whole.refused("model_type", f"{kind!r} is not supported: {reason}")
    inner = whole.inner(*_TEXT)
    if inner is not None and inner.inner(*_TEXT) is not None:  # Qwen Omni: the thinker is composed itself
        inner = inner.inner(*_TEXT)
    if inner is not None and (kind in COMPOSED or family is not None or read_as is not None):
        own = read_as or inner.kind or text_type(kind)
        return _understood(Facts(inner.stated, inner.where, kind=own, nested=True), own)
    if kind in COMPOSED and family is None:
        own = text_type(kind)
        return _understood(Facts(whole.stated, whole.where, kind=own, nested=whole.nested), own)
    return _understood(whole, kind)


def _understood(facts: Facts, kind: str) -> tuple[Facts, Family]:
    family = family_of(kind)
    flat = [part.stated for part in (facts.inner("attn_config"), facts.inner("ffn_config")) if part is not None]
    if flat:  # MPT, DBRX: objects of their own for attention and feed-forward part
        stated = {key: value for part in flat for key, value in part.items() if key != "model_type"}
        facts = Facts({**stated, **facts.stated}, facts.where, kind=kind, nested=facts.nested)
    if kind in REFUSED:
        raise facts.refused("model_type", f"{kind!r} is not supported: {REFUSED[kind]}")
    if family is None:
        raise facts.refused(
            "model_type",
            f"{kind!r} is not known; the nearest known type is {nearest(kind)!r} "
            f"(model.read_as={nearest(kind)} reads it as that)",
        )
    return facts, family


def _kind(outer: Mapping[str, Any], where: str, read_as: str | None) -> str:
    """The model type: asked for, stated, or what a single architecture name says."""
    stated = outer.get("model_type")
    if read_as is not None:
        if family_of(read_as) is None and read_as not in COMPOSED:
            raise ConfigError(f"model.read_as: known model types include {nearest(read_as)!r}, but got {read_as!r}")
        return stated if stated in COMPOSED and isinstance(stated, str) else read_as
    if stated is not None and not isinstance(stated, str):
        raise ConfigError(f"model.hf_config: {where}: model_type: must be a string, but got {stated!r}")
    if stated:
        return stated
    if any(isinstance(outer.get(key), dict) for key in _TEXT):
        return "llava"
    classes = outer.get("architectures")
    if isinstance(classes, list) and classes and isinstance(classes[0], str):
        word = re.sub(r"(For\w+|LMHeadModel|Model)$", "", classes[0]).lower()
        found = next((kind for kind in sorted(FAMILIES) if kind.replace("_", "") == word.replace("_", "")), None)
        if found is not None:
            return found
    raise ConfigError(f"model.hf_config: {where}: model_type is missing (model.read_as states it)")


def _tied(whole: Facts, text: Facts, family: Family) -> bool:
    """Whether the head is the embedding: the whole's word (which vLLM copies into the language model's), the
    language model's own, or its class's."""
    for facts in (whole, text):
        if facts.says("tie_word_embeddings"):
            return facts.flag("tie_word_embeddings")
    return family.tied


def _object(file: Path) -> dict[str, Any]:
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"model.hf_config: {file} cannot be read ({error.strerror})") from None
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"model.hf_config: {file} is not JSON ({error})") from None
    if not isinstance(found, dict):
        raise ConfigError(f"model.hf_config: {file} must hold a JSON object, but got a {type(found).__name__}")
    return found


def _check_against_name(spec: ModelSpec, name: str, *, stated: bool) -> None:
    """Refuse a file whose name says what it does not: another size, or a quantisation that nothing states."""
    word = _QUANTISED.search(name)
    if word is not None and not stated:
        raise ConfigError(
            f"model.hf_config: {spec.source}: the name says {word[0]}, but neither the file nor an hf_quant_config.json "
            "beside it states a quantisation (quantization_config); put it there, or state model.weight_dtype"
        )
    sizes = [float(count or 1) * float(size) * (1e6 if unit in "mM" else 1e9) for count, size, unit in _SIZE.findall(name)]
    sizes += [float(f"{whole}.{tenth}") * 1e9 for whole, tenth in _SIZE_IN_A_FILE_NAME.findall(name)]
    text = parameter_count(spec) - sum(tower.parameters for tower in spec.towers)
    counted = parameter_count(spec), text, active_parameter_count(spec)
    if sizes and all(max(a, b) > _NOT_THAT_FAR * min(a, b) for a in sizes for b in counted):
        said = ", ".join(f"{size / 1e9:g}B" for size in sizes)
        raise ConfigError(
            f"model.hf_config: {spec.source}: the name says {said}, but the sizes in the file give "
            f"{counted[0] / 1e9:.1f}B parameters ({counted[2] / 1e9:.1f}B of them active): something is not what it says; "
            "model.read_as=TYPE reads it all the same"
        )
