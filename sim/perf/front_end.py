"""The API server in front of the engine: parse, tokenise, enqueue, and on the way back detokenise and stream.

    service = per_request + per_prompt_token x prompt tokens          seconds of one API server process
    enters engine = max(sent, process free) + service                 first come, first served, one process a replica

Global constants, fitted with the host's (``experiments/step_time_fit/fit_host.py``) on client-side TTFT of lightly
loaded servers; ``gpu.step_time_scale["front_end"]`` multiplies them. This file is the service time; the queue is kept
where requests are sent (``sim.fleet.server``, ``sim.trust.replay``).
Leaves out: several API server processes (``--api-server-count``), the CPU that detokenising takes from the process,
network distance between client and server.
"""

from __future__ import annotations

from sim.perf.constants import FRONT_END_PER_REQUEST_S, FRONT_END_PER_TOKEN_S
from sim.spec.gpu import GpuSpec


def front_end_s(prompt_tokens: int, gpu: GpuSpec | None = None) -> float:
    """Seconds the API server works on a prompt of ``prompt_tokens`` before the engine has it, waiting not counted."""
    scale = gpu.step_time_scale.get("front_end", 1.0) if gpu is not None else 1.0
    return scale * (FRONT_END_PER_REQUEST_S + FRONT_END_PER_TOKEN_S * prompt_tokens)
