"""The few global constants of time outside the GPU, the same for every GPU, model and case.

What a step beyond a graph costs, the second runner's gaps and the refill are read off recorded steps of vLLM 0.26 on an
H100 (``experiments/step_time_fit/recorded_steps.py``), the others fitted by ``fit_host.py`` there on measured servers of
0.11 to 0.15 (2026-11-26); what each means is in ``sim.perf.host`` and ``sim.perf.front_end``.
"""

from __future__ import annotations

from typing import NamedTuple


class RunnerTimes(NamedTuple):
    """What a model runner takes, seconds."""

    gap_per_seq_s: float
    pieces_per_seq_s: float
    """Metadata of a step with prefill, a sequence."""
    kernels_per_layer_s: float
    """Launching a layer without a graph."""


FIRST_RUNNER = RunnerTimes(gap_per_seq_s=6.0e-6, pieces_per_seq_s=3.0e-6, kernels_per_layer_s=4.0e-4)
SECOND_RUNNER = RunnerTimes(gap_per_seq_s=5.0e-6, pieces_per_seq_s=1.1e-5, kernels_per_layer_s=5.4e-4)
HOST_PER_STEP_S = 0.80e-3
HOST_PER_SEQ_S = 2.8e-5
BETWEEN_PIECES_PER_LAYER_S = 2.4e-5
LAUNCH_PIECES_PER_LAYER_S = 1.8e-4
REFILL_S = 1.9e-3
ASYNC_GAP_S = 2.4e-4
FRONT_END_PER_REQUEST_S = 6.8e-3
FRONT_END_PER_TOKEN_S = 1.2e-6
FRONT_END_BUSY_SHARE = 0.25
"""Assumed, not fitted; range 0.1-0.5."""
