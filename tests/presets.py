"""The shipped model and GPU presets as spec objects, read without Hydra."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import yaml

from sim.perf import model_from_data
from sim.spec import GpuPrice, GpuSpec, ModelSpec

CONFIGS = Path(__file__).parents[1] / "configs"


@cache
def model(name: str) -> ModelSpec:
    return model_from_data(yaml.safe_load((CONFIGS / "model" / f"{name}.yaml").read_text()))


@cache
def gpu(name: str) -> GpuSpec:
    data = yaml.safe_load((CONFIGS / "gpu" / f"{name}.yaml").read_text())
    data["price"] = GpuPrice(**data["price"])
    return GpuSpec(**data)


def names(group: str) -> list[str]:
    return sorted(path.stem for path in (CONFIGS / group).glob("*.yaml"))
