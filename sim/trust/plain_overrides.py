"""``key=value`` overrides of model, GPU and engine, without Hydra: for verbs that fit rather than simulate.

The same words as elsewhere: ``model=llama3_8b gpu=h100 engine.max_num_seqs=128 model.weight_dtype=fp8``. Later ones
win.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, fields
from typing import Any

import yaml
from pydantic import ValidationError

from sim.errors import ConfigError
from sim.perf import model_from_data
from sim.presets.read import preset, preset_gpu, preset_model
from sim.spec import EngineSpec, GpuPrice, GpuSpec, ModelSpec
from sim.spec.model import model_to_data, parse_model


def parse_overrides(words: Iterable[str]) -> tuple[ModelSpec, GpuSpec, EngineSpec]:
    """Model, GPU and engine that ``words`` describe; ``llama3_8b`` on ``l40s`` by default, as elsewhere.

    Raises:
        ConfigError: an unknown key or preset, or an illegal value.
    """
    chosen = {"model": "llama3_8b", "gpu": "l40s", "engine": "vllm"}
    changes: dict[str, dict[str, Any]] = {"model": {}, "gpu": {}, "engine": {}}
    for word in words:
        key, equals, value = word.partition("=")
        group, _, name = key.partition(".")
        if not equals or group not in chosen:
            raise ConfigError(f"{word}: overrides here are model=, gpu=, model.*=, gpu.*= and engine.*=")
        if not name:
            chosen[group] = value
        else:
            changes[group][name] = yaml.safe_load(value)
    model, gpu, engine = preset_model(chosen["model"]), preset_gpu(chosen["gpu"]), preset("engine", chosen["engine"])
    stated = changes["model"]
    if stated.get("hf_config"):
        model = model_from_data(stated)
    else:
        model = parse_model({**model_to_data(model), **stated})
    return (
        model,
        _changed(GpuSpec, {**asdict(gpu), "price": GpuPrice(**asdict(gpu.price))}, changes["gpu"], "gpu"),
        _changed(EngineSpec, engine, changes["engine"], "engine"),
    )


def _changed(kind: Any, values: dict[str, Any], changes: dict[str, Any], group: str) -> Any:
    known = {field.name for field in fields(kind)}
    for name in changes:
        if name not in known:
            raise ConfigError(f"{group}.{name}: unknown key; known are {', '.join(sorted(known))}")
    try:
        return kind(**{**values, **changes})
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join([group, *(str(part) for part in first["loc"])])
        raise ConfigError(f"{where}: {first['msg']}, but got {first['input']!r}") from None
