"""The few global constants of time outside the GPU, the same for every GPU, model and case.

Fitted by ``experiments/step_time_fit/fit_host.py`` on measured servers; what each means is in ``sim.perf.host`` and
``sim.perf.front_end``.
"""

from __future__ import annotations

HOST_PER_STEP_S = 0.85e-3
HOST_PER_SEQ_S = 4.0e-5
HOST_PER_PREFILL_S = 1.0e-4
MIXED_STEP_PER_LAYER_S = 1.0e-5
ASYNC_GAP_S = 1.0e-4
ASYNC_GAP_PER_SEQ_S = 1.5e-6
FRONT_END_PER_REQUEST_S = 3.7e-3
FRONT_END_PER_TOKEN_S = 1.0e-6
