"""The presets that published names mean."""

from __future__ import annotations

import re
from importlib.resources import files
from typing import Any, Literal

from sim.errors import ConfigError
from sim.spec import EngineSpec
from sim.spec.releases import NEWEST, OLDEST

_GPUS = (
    (r"RTX PRO 6000", "rtx_pro_6000"), (r"6000 Ada", "rtx6000_ada"), (r"4090", "rtx4090"), (r"5090", "rtx5090"),
    (r"A100", "a100_80"),
)  # fmt: skip
"""Cards whose preset is not one of the words of their name."""
_MODELS = (
    (r"llama-?3\.?[13].*-8b", "llama3_8b"), (r"llama-?3\.?[13].*-70b", "llama3_70b"), (r"llama-2-7b", "llama2_7b"),
    (r"llama-2-13b", "llama2_13b"), (r"llama-2-70b", "llama2_70b"), (r"codellama-34b", "codellama_34b"),
    (r"qwen3-30b-a3b", "qwen3_30b_a3b"), (r"qwen3-8b", "qwen3_8b"), (r"qwen3-14b", "qwen3_14b"),
    (r"qwen3-32b", "qwen3_32b"),
    (r"qwen2\.5-7b", "qwen2_5_7b"), (r"mixtral-8x7b", "mixtral_8x7b"), (r"mixtral-8x22b", "mixtral_8x22b"),
    (r"nemo(?!tron)", "mistral_nemo_12b"), (r"scout", "llama4_scout"), (r"deepseek-(v3|r1)(?!.*distill|\.2)", "deepseek_v3"),
)  # fmt: skip
_OTHER = re.compile(r"PCIe|NVL\b|40 ?GB", re.IGNORECASE)
"""Cards of the same name with other memory or clocks."""


def find_preset(text: str, kind: Literal["model", "gpu"]) -> str:
    """The preset that a published name means, e.g. ``meta-llama/Llama-3.1-8B-Instruct`` -> ``llama3_8b``.

    Raises:
        ConfigError: no preset fits.
    """
    own = re.sub(r"[^a-z0-9]+", "_", text.rpartition("/")[2].lower())
    shipped = sorted((path.name.removesuffix(".yaml") for path in (files("sim.configs") / kind).iterdir()), key=len)
    known, words = kind == "model" or not _OTHER.search(text), own.split("_") if kind == "gpu" else []
    for name in reversed(shipped):
        if own == name or own.startswith(f"{name}_") or (known and name in words):
            return name
    for pattern, name in _MODELS if kind == "model" else _GPUS:
        if known and re.search(pattern, text, re.IGNORECASE):
            return name
    how = "state hf_config in the case, or add" if kind == "model" else "add"
    raise ConfigError(f"{kind}: no preset for {text!r}; {how} configs/{kind}/NAME.yaml")


def engine_of_version(version: tuple[int, ...], **flags: Any) -> EngineSpec:
    """Engine options as the vLLM release ``version`` had them (the nearest that is modelled), with ``flags`` on top."""
    modelled = min(max(version[:2], OLDEST), NEWEST)
    return EngineSpec(version=f"{modelled[0]}.{modelled[1]}", **{k: v for k, v in flags.items() if v is not None})
