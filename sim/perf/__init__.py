"""How fast and how large: step-time models (table, roofline), host overhead, front end, and the memory arithmetic.

Ask in this order: ``resolve_engine`` fills the options left open, ``memory_plan`` counts KV blocks, ``step_time_model``
says how long a step takes and how far to trust it (``.regime``, ``.source``), ``FrontEnd`` what lies before the engine.
Step times and the readers of checkpoints are imported when they are first asked for: the memory arithmetic of a preset needs
neither them nor numpy, whose import takes a fifth of `calc`.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from sim.perf.engine_defaults import resolve_engine
from sim.perf.front_end import FrontEnd
from sim.perf.geometry import kv_bytes_per_token, parameter_count
from sim.perf.memory import MemoryPlan, memory_plan
from sim.perf.step_time import AffineStepTime, DecodeLine, StepTimeModel
from sim.perf.tabulated import Regime, TabulatedStepTime

if TYPE_CHECKING:
    from sim.perf.choose import step_time_model
    from sim.perf.hf_config import model_from_data, model_from_hf_config

__all__ = [
    "AffineStepTime", "DecodeLine", "FrontEnd", "MemoryPlan", "Regime", "StepTimeModel", "TabulatedStepTime",
    "kv_bytes_per_token", "memory_plan", "model_from_data", "model_from_hf_config", "parameter_count", "resolve_engine",
    "step_time_model",
]  # fmt: skip

_LATER = {"step_time_model": "choose", "model_from_data": "hf_config", "model_from_hf_config": "hf_config"}


def __getattr__(name: str) -> Any:
    if name not in _LATER:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_LATER[name]}"), name)
