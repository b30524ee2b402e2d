"""Which preset, or which folder, the model of a command line is."""

from __future__ import annotations

import re
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

import yaml

from sim.errors import ConfigError

_TUNED = re.compile(r"-(instruct|chat|it|hf|base|thinking|\d{4}|v\d+(\.\d+)?|preview|bf16|fp16)(?=-|$)")
_QUANTISED = (
    (re.compile(r"-(fp8(-dynamic|-block)?|w8a8-fp8)(?=-|$)"), "fp8"), (re.compile(r"-(nvfp4|fp4)(?=-|$)"), "fp4"),
    (re.compile(r"-(awq|gptq(-int4)?|int4|w4a16|quantized\.w4a16|4bit)(?=-|$)"), "int4"),
    (re.compile(r"-(w8a8|int8|quantized\.w8a8|gptq-int8|8bit)(?=-|$)"), "int8"),
)  # fmt: skip


def model_of(name: str) -> tuple[dict[str, Any], list[str]]:
    """The ``model`` mapping that ``name`` means, and what has to be said of it: a folder with a ``config.json``, or the
    preset of that Hugging Face name, whatever its tuning; a quantisation that the name says is its ``weight_dtype``.

    Raises:
        ConfigError: neither.
    """
    folder = Path(name).expanduser()
    if (folder / "config.json").is_file() or (folder.suffix == ".json" and folder.is_file()):
        return {"hf_config": str(folder)}, []
    wanted = name.rstrip("/").rpartition("/")[2].lower().replace("_", "-")
    dtype = next((dtype for pattern, dtype in _QUANTISED if pattern.search(wanted)), None)
    for pattern, _ in _QUANTISED:
        wanted = pattern.sub("", wanted)
    preset = _presets().get(_TUNED.sub("", wanted)) or _presets().get(_TUNED.sub("", wanted).replace("meta-", ""))
    if preset is None:
        raise ConfigError(
            f"vllm_line: the model {name!r} is no preset and no folder with a config.json; give its file besides: "
            "model.hf_config=PATH"
        )
    data = yaml.safe_load((resources.files("sim.configs") / "model" / f"{preset}.yaml").read_text(encoding="utf-8"))
    notes = [f"{name} is taken as model={preset}"]
    if dtype is not None and data.get("weight_dtype", "bf16") in ("bf16", "fp16"):
        data["weight_dtype"] = dtype
        notes.append(
            f"its name says {dtype}: model.weight_dtype={dtype}; model.hf_config=PATH reads what its file says, part by part"
        )
    return data, notes


@cache
def _presets() -> dict[str, str]:
    """Hugging Face names, without owner and tuning, of the shipped presets."""
    found: dict[str, str] = {}
    for file in (resources.files("sim.configs") / "model").iterdir():
        if file.name.endswith(".yaml"):
            data = yaml.safe_load(file.read_text(encoding="utf-8"))
            for name in re.findall(r"[\w.-]+/([\w.-]+)", str(data.get("source", ""))):
                found[_TUNED.sub("", name.lower().replace("_", "-"))] = str(data["name"])
    return found
