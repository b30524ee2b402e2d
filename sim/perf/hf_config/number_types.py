"""How each part of a checkpoint is stored: quantisation methods, their bits, and what they leave in 16 bits.

A method says what its matrices are; its lists say which it leaves alone (``modules_to_not_convert``, ``ignore``,
``exclude``) or which it means (``config_groups[].targets``, ``quantized_layers``). The head stays in 16 bits unless named.
Source: the loaders of vLLM 0.33 (``vllm/model_executor/layers/quantization``) and, for methods that it no longer loads,
their own packages.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from sim.errors import ConfigError
from sim.perf.hf_config.facts import Facts
from sim.perf.hf_config.module_names import ModuleRules
from sim.perf.hf_config.single_modules import single_modules
from sim.perf.hf_config.stored_as import BF16, INTEGERS, group_size, integers, quark, stored
from sim.spec.layers import WeightDtype, Weights


@dataclass
class NumberTypes:
    """What a checkpoint's matrices are; ``label`` names the method's own type."""

    label: WeightDtype
    rules: list[tuple[ModuleRules | None, Weights]] = field(default_factory=list)
    """The first whose modules are named (None = all) gives a part its type."""
    left_alone: ModuleRules | None = None
    experts_only: bool = False
    head: Weights | None = None
    kv_cache: Literal["bf16", "fp8"] = "bf16"
    notes: tuple[str, ...] = ()

    def of(self, part: str, layer: int) -> Weights | None:
        """The type of ``part`` in ``layer``; None = the model's ``weight_dtype``."""
        if not self.rules:
            return None
        if (self.experts_only and not part.startswith("experts")) or (
            self.left_alone and self.left_alone.names(part, layer)
        ):
            found = BF16
        else:
            found = next((own for rule, own in self.rules if rule is None or rule.names(part, layer)), BF16)
        return None if found == Weights(dtype=self.label) else found


def number_types(whole: Facts, text: Facts, beside: dict[str, Any] | None, *, replaced: bool = False) -> NumberTypes:
    """The types that a configuration, or the ``hf_quant_config.json`` beside it, states; where they are ``replaced``, what
    is not supported counts as nothing."""
    try:
        return _stated_types(whole, text, beside)
    except ConfigError:
        if not replaced:
            raise
        return _plain(whole, text)


def _stated_types(whole: Facts, text: Facts, beside: dict[str, Any] | None) -> NumberTypes:
    stated = whole.inner("quantization_config", "compression_config") or text.inner(
        "quantization_config", "compression_config"
    )
    if stated is None and beside is not None:
        inner = beside.get("quantization")
        stated = Facts(inner if isinstance(inner, dict) else beside, "hf_quant_config.json")
        stated = Facts({"quant_method": "modelopt", **stated.stated}, stated.where)
    plain = _plain(whole, text)
    if stated is None and isinstance(whole.stated.get("quantization"), dict):
        raise whole.refused("quantization", "MLX's number types are not what vLLM loads (model.weight_dtype overrides)")
    if stated is None:
        return plain
    method = stated.text("quant_method").lower().replace("_", "-")
    if not method:
        method = "modelopt" if stated.says("quant_algo") else "compressed-tensors" if stated.says("config_groups") else ""
    read = _METHODS.get(method)
    if read is None:
        known = ", ".join(sorted(_METHODS))
        raise stated.refused(
            "quant_method", f"{method!r} is not supported; known are {known} (model.weight_dtype overrides)"
        )
    found = _with_expert_dtype(read(stated), stated, text)
    found.rules[:0] = single_modules(stated)
    found.notes += _unmodelled_cache(stated)
    found.left_alone = found.left_alone or ModuleRules(_names_left_alone(stated), "quantization_config")
    if (
        found.head is None
        and found.left_alone is not None
        and stated.flag("lm_head")
        and "lm_head" not in found.left_alone.outside
    ):
        found.head = found.rules[-1][1]
    return found


def _with_expert_dtype(found: NumberTypes, stated: Facts, text: Facts) -> NumberTypes:
    """``expert_dtype`` of DeepSeek V4, whose experts are MXFP4 where it says nothing else (vLLM's ``quant_config.py``)."""
    holder = stated if stated.says("expert_dtype") else text
    dtype = holder.text("expert_dtype", default="fp4" if text.kind == "deepseek_v4" else "fp8")
    if dtype not in ("fp4", "fp8"):
        raise holder.refused("expert_dtype", f"known are fp4, fp8, but got {dtype!r}")
    if dtype == "fp4" and found.label == "fp8":
        found.rules.insert(0, (ModuleRules(["mlp.experts", "ffn.experts"], "expert_dtype"), Weights(dtype="mxfp4")))
    return found


def _plain(whole: Facts, text: Facts) -> NumberTypes:
    name, dtype = text.found("torch_dtype", "dtype")
    if dtype is None:
        name, dtype = whole.found("torch_dtype", "dtype")
    known = ("float16", "bfloat16", "float32", "float64", "auto", "half", "float")
    if dtype is not None and (not isinstance(dtype, str) or dtype.removeprefix("torch.") not in known):
        raise whole.refused(name, f"known are {', '.join(known)}, but got {dtype!r}")
    return NumberTypes("fp16" if str(dtype).removeprefix("torch.") in ("float16", "half") else "bf16")


def _names_left_alone(stated: Facts) -> list[str]:
    """Every list under which files say what stays in 16 bits."""
    names: list[str] = []
    for key in (
        "modules_to_not_convert",
        "ignore",
        "ignored_layers",
        "exclude",
        "exclude_modules",
        "skip_modules",
        "llm_int8_skip_modules",
    ):
        value = stated.stated.get(key)
        if value is None:
            continue
        if not isinstance(value, list) or not all(isinstance(one, str) for one in value):
            raise stated.refused(key, f"must be a list of module names, but got {value!r}")
        names += value
    dynamic = stated.stated.get("dynamic")
    if isinstance(dynamic, dict):  # GPTQModel: "-:regex" leaves alone
        names += [f"re:.*{rule[2:]}" for rule in dynamic if isinstance(rule, str) and rule.startswith("-:")]
    return names


def _one(dtype: WeightDtype, group: int = 0, **more: Any) -> NumberTypes:
    return NumberTypes(dtype, [(None, stored(dtype, group))], **more)


def _fp8(stated: Facts) -> NumberTypes:
    return _one("fp8")


def _integer(stated: Facts) -> NumberTypes:
    """AWQ, GPTQ, auto-round and the like: ``bits`` in groups of ``group_size`` (-1 = a whole column)."""
    found = integers(stated)
    return NumberTypes(found.dtype, [(None, found)])


def _bitsandbytes(stated: Facts) -> NumberTypes:
    if stated.flag("load_in_8bit") or stated.flag("_load_in_8bit"):
        return _one("int8")
    kind = stated.text("bnb_4bit_quant_type", default="fp4")
    return _one("nf4", 0 if stated.flag("bnb_4bit_use_double_quant") or kind == "nf4" else 16)


def _hqq(stated: Facts) -> NumberTypes:
    inner = stated.inner("quant_config") or stated
    found = _integer(inner.inner("weight_quant_params") or inner)
    group = found.rules[0][1].group_size or 64
    return NumberTypes(
        found.label, [(None, Weights(dtype=found.label, group_size=group, scale_bytes=4.0))]
    )  # 16-bit zero point


def _compressed(stated: Facts) -> NumberTypes:
    groups = stated.stated.get("config_groups")
    if not isinstance(groups, dict) or not groups:
        raise stated.refused("config_groups", f"must be an object with at least one group, but got {groups!r}")
    rules: list[tuple[ModuleRules | None, Weights]] = []
    head: Weights | None = None
    for name in groups:
        group = (stated.inner("config_groups") or stated).inner(name)
        weights = group.inner("weights") if group is not None else None
        if group is None or weights is None:
            continue
        own = _scheme(weights, group.stated.get("input_activations") is not None)
        stated_targets = group.stated.get("targets") or ["Linear"]
        if not isinstance(stated_targets, list):
            raise group.refused("targets", f"must be a list of module names, but got {stated_targets!r}")
        targets = [one for one in stated_targets if isinstance(one, str)]
        everything = any(one in ("Linear", "re:.*", "FusedMoE", "Linear*") for one in targets)
        if "lm_head" in targets or any(one.endswith("lm_head") for one in targets):
            head = own
        rules.append((None if everything else ModuleRules(targets, "config_groups.targets"), own))
    if not rules:
        raise stated.refused("config_groups", "no group states its weights")
    rules.sort(key=lambda rule: rule[0] is None)  # named modules before all
    return NumberTypes(rules[-1][1].dtype, rules, head=head, kv_cache=_kv_cache(stated))


def _scheme(weights: Facts, with_activations: bool) -> Weights:
    """``{num_bits, type, group_size}`` of compressed-tensors and ModelOpt."""
    bits, kind = weights.whole("num_bits", default=8, low=1, high=16), weights.text("type", default="int")
    group = group_size(weights)
    if kind == "float":
        dtype: WeightDtype = "fp8" if bits == 8 else "mxfp4" if group == 32 else "fp4"
        if bits not in (4, 8):
            raise weights.refused("num_bits", f"floats of 4 and 8 bits are supported, but got {bits}")
        return stored(dtype, group if bits == 4 else 0)
    if bits not in INTEGERS:
        raise weights.refused("num_bits", f"known are {', '.join(map(str, INTEGERS))}, but got {bits}")
    if bits == 8:
        return Weights(dtype="int8" if with_activations else "int8_weight_only")
    found = stored(INTEGERS[bits], group)
    return replace(found, scale_bytes=2.0) if weights.flag("symmetric", default=True) else found


_ALGORITHMS: dict[str, Weights] = {
    "FP8": Weights(dtype="fp8"), "FP8_PER_CHANNEL_PER_TOKEN": Weights(dtype="fp8"), "FP8_PB_WO": Weights(dtype="fp8"),
    "MXFP8": Weights(dtype="fp8"), "NVFP4": Weights(dtype="fp4"), "NVFP4_AWQ": Weights(dtype="fp4"),
    "NVFP4_SVDQUANT": Weights(dtype="fp4"), "W4A8_NVFP4_FP8": Weights(dtype="fp4"), "W4A16_NVFP4": Weights(dtype="fp4"),
    "W4A8_MXFP4_FP8": Weights(dtype="mxfp4"), "MXFP4": Weights(dtype="mxfp4"), "W4A16_AWQ": Weights(dtype="int4"),
    "W4A8_AWQ": Weights(dtype="int4"), "INT4_AWQ": Weights(dtype="int4"), "INT8_SQ": Weights(dtype="int8"),
    "W8A8_SQ_PER_CHANNEL": Weights(dtype="int8"), "W8A16": Weights(dtype="int8_weight_only"),
}  # fmt: skip


def _modelopt(stated: Facts) -> NumberTypes:
    algorithm = stated.text("quant_algo").upper()
    layers = stated.stated.get("quantized_layers")
    if isinstance(layers, dict) and layers:
        found = _by_layer(stated, layers)
    elif stated.stated.get("config_groups"):
        found = _compressed(stated)
    elif algorithm in _ALGORITHMS:
        found = NumberTypes(_ALGORITHMS[algorithm].dtype, [(None, _ALGORITHMS[algorithm])])
    else:
        raise stated.refused("quant_algo", f"known are {', '.join(_ALGORITHMS)}, but got {algorithm!r}")
    found.kv_cache = _kv_cache(stated)
    return found


def _by_layer(stated: Facts, layers: dict[str, Any]) -> NumberTypes:
    """``quantized_layers``: an algorithm for each module."""
    modules: dict[Weights, list[str]] = {}
    for name, one in layers.items():
        algorithm = str(one.get("quant_algo", "")).upper() if isinstance(one, dict) else ""
        if algorithm not in _ALGORITHMS:
            raise stated.refused(f"quantized_layers.{name}", f"known are {', '.join(_ALGORITHMS)}, but got {algorithm!r}")
        modules.setdefault(_ALGORITHMS[algorithm], []).append(name)
    head = next((own for own, names in modules.items() if "lm_head" in names), None)
    rules: list[tuple[ModuleRules | None, Weights]] = [
        (ModuleRules(names, "quantized_layers"), own) for own, names in modules.items()
    ]
    return NumberTypes(max(modules, key=lambda own: len(modules[own])).dtype, rules, head=head)


def _quark(stated: Facts) -> NumberTypes:
    every = stated.inner("global_quant_config")
    found = quark(every or stated, "global_quant_config")
    return NumberTypes(
        found.dtype, [(None, found)], kv_cache="fp8" if stated.stated.get("kv_cache_quant_config") else "bf16"
    )


def _torchao(stated: Facts) -> NumberTypes:
    kind = str(stated.stated.get("quant_type")).lower().replace("_", "")
    if "fqntoconfig" in kind:
        raise stated.refused("quant_type", "types by module of torchao are not supported (model.weight_dtype overrides)")
    group = re.search(r"groupsize\W+(\d+)", kind)
    size = int(group[1]) if group else 0
    if "int4weightonly" in kind or "int8dynamicactivationint4weight" in kind or "int8dqint4" in kind:
        return _one("int4", size)
    if "int8weightonly" in kind or "int8wo" in kind:
        return _one("int8_weight_only")
    if "int8dynamicactivationint8weight" in kind or "int8dq" in kind:
        return _one("int8")
    if "float8" in kind or "fp8" in kind:
        return _one("fp8")
    raise stated.refused(
        "quant_type", f"int4, int8 and float8 of torchao are supported, but got {stated.stated.get('quant_type')!r}"
    )


def _aqlm(stated: Facts) -> NumberTypes:
    bits = stated.whole("nbits_per_codebook", default=16) * stated.whole("num_codebooks", default=1)
    each = bits / stated.whole("in_group_size", default=8, low=1)
    near = min((2, 3, 4), key=lambda one: abs(one - each))
    return _one(INTEGERS[near], notes=(f"AQLM codes of {each:.1f} bits are counted as int{near}",))


def _bits_float(stated: Facts) -> NumberTypes:
    bits = stated.whole("bits", default=8, low=1, high=16)
    if bits not in (6, 8):
        raise stated.refused("bits", f"DeepSpeed floats of 6 and 8 bits are supported, but got {bits}")
    return _one("fp6" if bits == 6 else "fp8")


def _quanto(stated: Facts) -> NumberTypes:
    known: dict[str, WeightDtype] = {"int8": "int8_weight_only", "int4": "int4", "int2": "int2", "float8": "fp8"}
    kind = stated.text("weights")
    if kind not in known:
        raise stated.refused("weights", f"known are {', '.join(known)}, but got {kind!r}")
    return _one(known[kind])


def _kv_cache(stated: Facts) -> Literal["bf16", "fp8"]:
    """An fp8 scheme for the cache in the file is what ``kv_cache_dtype=auto`` takes."""
    scheme = stated.stated.get("kv_cache_scheme")
    if isinstance(scheme, dict):
        return "fp8" if scheme.get("num_bits") == 8 and scheme.get("type") == "float" else "bf16"
    return "fp8" if "FP8" in str(stated.stated.get("kv_cache_quant_algo")).upper() else "bf16"


def _unmodelled_cache(stated: Facts) -> tuple[str, ...]:
    """What the file asks of its cache and is not modelled."""
    scheme = stated.stated.get("kv_cache_scheme")
    four = isinstance(scheme, dict) and scheme.get("num_bits") == 4
    if not four and "FP4" not in str(stated.stated.get("kv_cache_quant_algo")).upper():
        return ()
    return ("the file asks for a cache of 4 bits, not modelled: 16 are counted (with engine.kv_cache_dtype=fp8: 8)",)


_METHODS: dict[str, Callable[[Facts], NumberTypes]] = {
    "fp8": _fp8, "fbgemm-fp8": _fp8, "fp8-block": _fp8, "deepseek-v4-fp8": lambda _: _one("fp8"), "mxfp8": _fp8,
    "finegrained-fp8": _fp8, "awq": _integer, "awq-marlin": _integer, "auto-awq": _integer, "gptq": _integer,
    "gptq-marlin": _integer, "auto-gptq": _integer, "auto-round": _integer, "auto-round:auto-gptq": _integer,
    "inc": _integer,
    "intel/auto-round": _integer, "moe-wna16": _integer, "bitblas": _integer, "gptq-bitblas": _integer,
    "bitsandbytes": _bitsandbytes, "hqq": _hqq, "compressed-tensors": _compressed, "modelopt": _modelopt,
    "modelopt-fp4": _modelopt, "modelopt-mixed": _modelopt, "modelopt-mxfp8": _modelopt, "nvfp4": lambda _: _one("fp4"),
    "mxfp4": lambda _: _one("mxfp4", experts_only=True), "gpt-oss-mxfp4": lambda _: _one("mxfp4", experts_only=True),
    "quark": _quark, "torchao": _torchao, "aqlm": _aqlm, "bitnet": lambda _: _one("ternary"), "deepspeedfp": _bits_float,
    "eetq": lambda _: _one("int8_weight_only"), "experts-int8": lambda _: _one("int8_weight_only", experts_only=True),
    "fp-quant": lambda _: _one("fp4"), "quanto": _quanto,
}  # fmt: skip
