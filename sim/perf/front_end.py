"""The API server in front of the engine: parse, tokenise, enqueue, and on the way back detokenise and stream.

    front end = per_request + per_prompt_token x prompt tokens        seconds, before the engine sees the request

Global constants, fitted with the host's (``experiments/step_time_fit/fit_host.py``) on client-side TTFT of lightly
loaded servers; ``gpu.step_time_scale["front_end"]`` multiplies them.
Leaves out: queueing inside the front end (one API server process serves some hundred requests a second before it
queues), network distance between client and server.
"""

from __future__ import annotations

from sim.perf.constants import FRONT_END_PER_REQUEST_S, FRONT_END_PER_TOKEN_S
from sim.spec.gpu import GpuSpec


def front_end_s(prompt_tokens: int, gpu: GpuSpec | None = None) -> float:
    """Seconds between the gateway's send and the engine's queue for a prompt of ``prompt_tokens``."""
    scale = gpu.step_time_scale.get("front_end", 1.0) if gpu is not None else 1.0
    return scale * (FRONT_END_PER_REQUEST_S + FRONT_END_PER_TOKEN_S * prompt_tokens)
