"""Matrix products inside a served step against the same kernels measured one by one.

Shipped tables are sums of kernels that were timed alone. In a captured step they follow one another without a cold start,
and batches of 16 to 512 rows run faster than the sum says; a single row runs slower. The share below is time in the
served step / time in the sum, by new tokens: read off decode steps of 1 to 256 sequences and isolated mixed steps of vLLM
0.26, Llama-3.1-8B on an H100 (2026-11-26), everything but attention. Runs of nine other models (vLLM 0.11 to 0.15) agree:
left free, they put the strength of this correction at 0.99 of what is written here.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from sim.perf.tabulated import StepTables

_TOKENS = (1, 4, 8, 16, 32, 64, 128, 256, 512, 1024)
_SHARE = (1.018, 0.985, 0.985, 0.955, 0.947, 0.920, 0.918, 0.900, 0.950, 1.0)


def served(tables: StepTables) -> StepTables:
    """``tables`` of kernel times, with everything but attention as a served step takes it."""
    share = np.interp(np.log(tables.tokens), np.log(_TOKENS), _SHARE)
    seconds = np.maximum.accumulate(np.array(tables.nonattention_s) * share)
    return replace(tables, nonattention_s=tuple(map(float, seconds)))
