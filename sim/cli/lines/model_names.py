"""Which preset, or which folder, the model of a command line is."""

from __future__ import annotations

import re
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

import yaml

from sim.errors import ConfigError
from sim.perf.hf_config.read import model_from_data

_TUNED = re.compile(r"-(instruct|chat|it|hf|base|thinking|\d{4}|v0(\.\d+)?|preview)(?=-|$)")
_DATED = re.compile(r"-\d{4}(?=-|$)")
_QUANTISED = (
    (re.compile(r"-(w-)?mxfp4(-a-(fp8|mxfp4))?(?=-|$)"), "mxfp4"), (re.compile(r"-(bf16|fp16)(?=-|$)"), "bf16"),
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
    wanted = _unquantised(wanted)
    preset = _presets().get(wanted) or _presets().get(_TUNED.sub("", wanted))
    preset = preset or _presets().get(_TUNED.sub("", wanted).replace("meta-", ""))
    if preset is None:
        raise ConfigError(
            f"vllm_line: the model {name!r} is no preset and no folder with a config.json; give its file besides: "
            "model.hf_config=PATH"
        )
    data = yaml.safe_load((resources.files("sim.configs") / "model" / f"{preset}.yaml").read_text(encoding="utf-8"))
    notes = [f"{name} is taken as model={preset}"]
    if _DATED.search(wanted) and wanted not in _presets():
        notes.append("a later edition of it may be made for another length: model.max_context states it")
    if dtype is not None and dtype != ("bf16" if (own := model_from_data(data).weight_dtype) == "fp16" else own):
        data["weight_dtype"] = dtype
        notes.append(
            f"its name says {dtype}: model.weight_dtype={dtype}; model.hf_config=PATH reads what its file says, part by part"
        )
    return data, notes


def _unquantised(name: str) -> str:
    for pattern, _ in _QUANTISED:
        name = pattern.sub("", name)
    return name


@cache
def _presets() -> dict[str, str]:
    """Hugging Face names without owner, whole and without tuning, of the shipped presets; a name that several have without
    its tuning means none of them."""
    whole: dict[str, str] = {}
    short: dict[str, set[str]] = {}
    for file in (resources.files("sim.configs") / "model").iterdir():
        if file.name.endswith(".yaml"):
            data = yaml.safe_load(file.read_text(encoding="utf-8"))
            for name in re.findall(r"[\w.-]+/([\w.-]+)", str(data.get("source", ""))):
                plain = _unquantised(name.lower().replace("_", "-"))
                whole[plain] = str(data["name"])
                short.setdefault(_TUNED.sub("", plain), set()).add(str(data["name"]))
    return {name: next(iter(presets)) for name, presets in short.items() if len(presets) == 1} | whole
