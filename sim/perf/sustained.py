"""Sustained power: long stretches of large products pull the board to its limit, and the clock falls.

    step = short burst x (1 + SLOWDOWN x share of the step that is compute x min(1, tokens / 1,024))

A rate by composition, not a state: a step time stays a pure function of what the scheduler composed. Kernel tables are
short bursts at full clock. A measured H100 (700 W) fell from 1,980 to 1,300-1,500 MHz in prefill-heavy stretches: lone
steps of 2,048 tokens met the burst, steps of 1,024 to 8,192 tokens in a row took 4 to 9 % longer.

Leaves out: the first tenths of a second at full clock, decode-only stretches (memory-bound: the clock stays), cards whose
limit was lowered (``gpu.step_time_scale.compute`` states that).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from sim.perf.tabulated import StepTables
from sim.spec.gpu import GpuSpec

SLOWDOWN = 0.067
"""Fitted on windows of mixed steps of vLLM 0.26 on an H100 (``experiments/step_time_fit/v026_steps.py``, 2026-11-26)."""
_FROM_TOKENS = 1024.0


def sustained(tables: StepTables, gpu: GpuSpec) -> StepTables:
    """``tables`` of bursts as a board under sustained load takes them; as they are where no power limit is known."""
    if not gpu.tdp_w:
        return tables
    pairs, window = (
        tuple(_slower(seconds, 1.0, n) for n, seconds in zip(tables.prefill_tokens, column, strict=True)) if column else ()
        for column in (tables.prefill_pair_s, tables.prefill_window_pair_s)
    )
    return replace(
        tables, nonattention_s=sustained_products_s(tables.tokens, tables.nonattention_s, gpu), prefill_pair_s=pairs,
        prefill_window_pair_s=window,
    )  # fmt: skip


def sustained_products_s(tokens: Sequence[float], seconds: Sequence[float], gpu: GpuSpec) -> tuple[float, ...]:
    """Times of a GPU's products at each count of its ``tokens``, whose first is all memory."""
    if not gpu.tdp_w:
        return tuple(seconds)
    first = seconds[0]
    return tuple(_slower(s, 1.0 - first / s if s else 0.0, n) for n, s in zip(tokens, seconds, strict=True))


def _slower(seconds: float, compute: float, tokens: float) -> float:
    return seconds * (1.0 + SLOWDOWN * compute * min(1.0, tokens / _FROM_TOKENS))
