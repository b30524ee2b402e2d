"""Matrix products inside a served step against the same kernels measured one by one.

Shipped tables are sums of kernels that were timed alone. In a captured step they follow one another without a cold start,
and batches of 16 to 512 rows run faster than the sum says; a single row runs slower. The share below is time in the
served step / time in the sum, by new tokens: read off decode steps of 1 to 256 sequences and isolated mixed steps of vLLM
0.26, Llama-3.1-8B on an H100 (2026-11-26), everything but attention. Runs of nine other models (vLLM 0.11 to 0.15) agree:
left free, they put the strength of this correction at 0.99 of what is written here.

Products of 8-bit weights are faster again than their tables say: by 5 % in small batches, by 8 % in large ones
(Llama-3.1-70B in FP8 on 2, 4 and 8 H100s, InferenceMAX, 2025-10; 16-bit models on the same cards are not).
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from sim.perf.tabulated import StepTables

_TOKENS = (1, 4, 8, 16, 32, 64, 128, 256, 512, 1024)
_SHARE = (1.018, 0.985, 0.985, 0.955, 0.947, 0.920, 0.918, 0.900, 0.950, 1.0)
_SMALL, _LARGE = 64, 1024
_EIGHT_BIT_SHARE = (0.95, 0.92)
"""Of batches of at most ``_SMALL`` tokens, and of at least ``_LARGE``."""


def served(tables: StepTables, weight_dtype: str) -> StepTables:
    """``tables`` of kernel times, with everything but attention as a served step takes it."""
    tokens = np.log(tables.tokens)
    share = np.interp(tokens, np.log(_TOKENS), _SHARE)
    if weight_dtype in ("fp8", "int8"):
        share = share * np.interp(tokens, np.log([_SMALL, _LARGE]), _EIGHT_BIT_SHARE)
    seconds = np.maximum.accumulate(np.array(tables.nonattention_s) * share)
    return replace(tables, nonattention_s=tuple(map(float, seconds)))
