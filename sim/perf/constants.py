"""The few global constants of time outside the GPU, the same for every GPU, model and case.

What a step beyond a graph costs, the second runner's gaps and the refill are read off recorded steps of vLLM 0.26 on an
H100 (``experiments/step_time_fit/recorded_steps.py``), the others fitted by ``fit_host.py`` there on measured servers of
0.11 to 0.15 (2026-11-26); what each means is in ``sim.perf.host`` and ``sim.perf.front_end``.
"""

from __future__ import annotations

from typing import NamedTuple


class RunnerTimes(NamedTuple):
    """What a model runner takes besides composing a step, seconds."""

    gap_s: float = 2.4e-4
    gap_per_seq_s: float = 6.0e-6
    between_pieces_per_layer_s: float = 2.4e-5
    between_pieces_per_seq_s: float = 3.0e-6
    """Metadata of a step with prefill."""
    pieces_per_layer_s: float = 1.8e-4
    kernels_per_layer_s: float = 4.0e-4
    """Launching a layer without a graph, eager or beyond the largest one."""
    refill_s: float = 1.9e-3
    graphs_with_prefill: bool = True
    """Steps with prefill run in captured pieces as far as one is large enough."""


FIRST_RUNNER = RunnerTimes()
SECOND_RUNNER = RunnerTimes(gap_per_seq_s=5.0e-6, between_pieces_per_seq_s=1.1e-5, kernels_per_layer_s=5.4e-4)
SGLANG = RunnerTimes(
    gap_per_seq_s=3.0e-6, between_pieces_per_layer_s=0.0, kernels_per_layer_s=2.5e-4, refill_s=0.0,
    graphs_with_prefill=False,
)  # fmt: skip
"""An assumption: its overlap scheduler prepares a prefill batch while the decodes before it run; prefill has no graph."""
TENSORRT_LLM = RunnerTimes(
    gap_s=1.5e-4, gap_per_seq_s=2.0e-6, between_pieces_per_layer_s=0.0, between_pieces_per_seq_s=1.0e-6,
    kernels_per_layer_s=1.2e-4, refill_s=1.0e-3, graphs_with_prefill=False,
)  # fmt: skip
"""An assumption: overlapped, fused kernels, few launches a layer; prefill has no graph."""
HOST_PER_STEP_S = 0.80e-3
HOST_PER_SEQ_S = 2.8e-5
FRONT_END_PER_REQUEST_S = 6.8e-3
FRONT_END_PER_TOKEN_S = 1.2e-6
FRONT_END_BUSY_SHARE = 0.25
"""Assumed, not fitted; range 0.1-0.5."""
