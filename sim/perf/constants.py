"""The few global constants of time outside the GPU, the same for every GPU, model and case.

Fitted by ``experiments/step_time_fit/fit_host.py`` on measured servers; what each means is in ``sim.perf.host`` and
``sim.perf.front_end``.
"""

from __future__ import annotations

HOST_PER_STEP_S = 0.98e-3
HOST_PER_SEQ_S = 3.3e-5
MIXED_STEP_PER_LAYER_S = 1.45e-5
ASYNC_GAP_S = 1.8e-4
ASYNC_GAP_PER_SEQ_S = 1.9e-6
FRONT_END_PER_REQUEST_S = 6.4e-3
FRONT_END_PER_TOKEN_S = 1.2e-6
FRONT_END_BUSY_SHARE = 0.25
"""Assumed, not fitted; range 0.1-0.5."""
