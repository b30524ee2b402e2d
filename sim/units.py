"""Units: the few factors that the house converts with. Names elsewhere carry the unit they hold."""

from __future__ import annotations

GIB = 1024**3
GB = 10**9
SECONDS_PER_HOUR = 3600.0
SECONDS_PER_DAY = 86_400.0
JOULES_PER_KWH = 3.6e6
HOURS_PER_MONTH = 730.0
DAYS_PER_MONTH = HOURS_PER_MONTH / 24
TOKENS_PER_MILLION = 1_000_000
NS_PER_S = 1_000_000_000

DTYPE_BYTES: dict[str, float] = {
    "fp32": 4.0, "bf16": 2.0, "fp16": 2.0, "fp8": 1.0, "int8": 1.0, "int8_weight_only": 1.0, "fp6": 0.75, "int6": 0.75,
    "int5": 0.625,
    "int4": 0.5, "nf4": 0.5, "fp4": 0.5, "mxfp4": 0.5, "int3": 0.375, "int2": 0.25, "ternary": 0.25,
}  # fmt: skip
"""Bytes of one stored element. Weights of few bits carry group scales besides: see ``sim.perf.geometry``."""
