"""The few global constants of time outside the GPU, the same for every GPU, model and case.

Launches, gaps of the second runner and the refill are read off recorded steps of vLLM 0.26 on an H100
(``experiments/step_time_fit/recorded_steps.py``), the others fitted by ``fit_host.py`` there on measured servers of 0.11 to
0.15; what each means is in ``sim.perf.host`` and ``sim.perf.front_end``.
"""

from __future__ import annotations

HOST_PER_STEP_S = 0.98e-3
HOST_PER_SEQ_S = 3.3e-5
BETWEEN_PIECES_PER_LAYER_S = 2.4e-5
FIRST_RUNNER_PIECES_PER_SEQ_S = 3.0e-6
SECOND_RUNNER_PIECES_PER_SEQ_S = 1.1e-5
LAUNCH_PIECES_PER_LAYER_S = 1.8e-4
LAUNCH_KERNELS_PER_LAYER_S = 5.4e-4
REFILL_S = 1.9e-3
ASYNC_GAP_S = 2.4e-4
FIRST_RUNNER_GAP_PER_SEQ_S = 8.0e-6
SECOND_RUNNER_GAP_PER_SEQ_S = 5.0e-6
FRONT_END_PER_REQUEST_S = 6.4e-3
FRONT_END_PER_TOKEN_S = 1.2e-6
FRONT_END_BUSY_SHARE = 0.25
"""Assumed, not fitted; range 0.1-0.5."""
