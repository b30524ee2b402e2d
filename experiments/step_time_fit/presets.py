"""The shipped presets as spec objects, for the experiments in this folder."""

from __future__ import annotations

from pathlib import Path

import yaml

from sim.perf import model_from_data
from sim.spec import GpuSpec, ModelSpec
from sim.spec.gpu import GpuPrice

CONFIGS = Path(__file__).parents[2] / "configs"


def load_model(name: str, **changes: object) -> ModelSpec:
    data = yaml.safe_load((CONFIGS / "model" / f"{name}.yaml").read_text())
    return model_from_data({**data, **changes})


def load_gpu(name: str, **changes: object) -> GpuSpec:
    data = yaml.safe_load((CONFIGS / "gpu" / f"{name}.yaml").read_text())
    data["price"] = GpuPrice(**data["price"])
    return GpuSpec(**{**data, **changes})
