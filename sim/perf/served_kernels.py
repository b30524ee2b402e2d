"""Matrix products inside a served step against the same kernels measured one by one.

Shipped tables are sums of kernels that were timed alone. In a captured step they follow one another without a cold start,
and batches of 16 to 512 rows run faster than the sum says; a single row runs slower. The share below is time in the
served step / time in the sum, by new tokens: read off decode steps of 1 to 256 sequences and isolated mixed steps of vLLM
0.26, Llama-3.1-8B on an H100 (2026-11-26), everything but attention. Runs of nine other models (vLLM 0.11 to 0.15) agree:
left free, they put the strength of this correction at 0.99 of what is written here.

Sums of 16-bit kernels step up between 8 and 32 rows, where one kernel gives way to another (by 16 % at 16 rows of Qwen3-32B
on four H100s); served steps of 16 do not show it (vLLM 0.12, closed loops of 8, 16 and 32): between the two the time is at
most on the straight line. Those of 8-bit kernels do (Llama-3.1-70B on eight H100s).

Products of 8-bit weights are faster again than their tables say: by 5 % in small batches, by 8 % in large ones
(Llama-3.1-70B in FP8 on 2, 4 and 8 H100s, InferenceMAX, 2025-10; 16-bit models on the same cards are not).
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from sim.perf.tabulated import StepTables

_TOKENS = (1, 4, 8, 16, 32, 64, 128, 256, 512, 1024)
_SHARE = (1.018, 0.985, 0.985, 0.994, 0.947, 0.920, 0.918, 0.900, 0.950, 1.0)
_OF_A_STEP_UP = (1.018, 0.985, 0.985, 0.955, 0.947, 0.920, 0.918, 0.900, 0.950, 1.0)
"""Of sums that keep their step up."""
_STEP_UP = (8, 32)
_SMALL, _LARGE = 64, 1024
_EIGHT_BIT_SHARE = (0.95, 0.92)
"""Of batches of at most ``_SMALL`` tokens, and of at least ``_LARGE``."""


def served(tables: StepTables, weight_dtype: str) -> StepTables:
    """``tables`` of kernel times, with everything but attention as a served step takes it."""
    rows, sums, tokens = np.array(tables.tokens), np.array(tables.nonattention_s), np.log(tables.tokens)
    if weight_dtype in ("fp8", "int8"):
        share = np.interp(tokens, np.log(_TOKENS), _OF_A_STEP_UP)
        share = share * np.interp(tokens, np.log([_SMALL, _LARGE]), _EIGHT_BIT_SHARE)
    else:
        share = np.interp(tokens, np.log(_TOKENS), _SHARE)
        line = np.interp(rows, _STEP_UP, np.interp(_STEP_UP, rows, sums))
        sums = np.where((rows > _STEP_UP[0]) & (rows < _STEP_UP[1]), np.minimum(sums, line), sums)
    seconds = np.maximum.accumulate(sums * share)
    return replace(tables, nonattention_s=tuple(map(float, seconds)))
