"""The API server in front of the engine: parse, tokenise, enqueue, and on the way back detokenise and stream.

    delay = per_request + per_prompt_token x prompt tokens            seconds a lone prompt takes to reach the engine
    busy  = share x delay                                             of it the API server process works
    starts = max(sent, process free), enters engine = starts + delay, process free = starts + busy

The process works first come, first served; the rest of the delay (network stack, handing over between processes, the
first token's way back) passes in parallel for any number of requests. ``per_request`` and ``per_prompt_token`` are
global constants, fitted with the host's (``experiments/step_time_fit/fit_host.py``) on client-side TTFT of lightly
loaded servers; ``gpu.step_time_scale["front_end"]`` multiplies both. The share is an assumption between bounds: the
measured servers are as well predicted with 0.1 as with 0.5 and worse with 1 and above (``front_end_share.py`` there).
Leaves out: several API server processes (``--api-server-count``), the CPU that detokenising takes from the process.
"""

from __future__ import annotations

from sim.perf.constants import FRONT_END_BUSY_SHARE, FRONT_END_PER_REQUEST_S, FRONT_END_PER_TOKEN_S
from sim.spec.gpu import GpuSpec


class FrontEnd:
    """The API server of one replica, or of one benchmark run: it remembers until when it works."""

    __slots__ = ("_busy_share", "_free_s", "_per_request_s", "_per_token_s")

    def __init__(
        self,
        gpu: GpuSpec | None = None,
        per_request_s: float = FRONT_END_PER_REQUEST_S,
        per_token_s: float = FRONT_END_PER_TOKEN_S,
        busy_share: float = FRONT_END_BUSY_SHARE,
    ) -> None:
        scale = gpu.step_time_scale.get("front_end", 1.0) if gpu is not None else 1.0
        self._per_request_s = scale * per_request_s
        self._per_token_s = scale * per_token_s
        self._busy_share = busy_share
        self._free_s = 0.0

    def delay_s(self, prompt_tokens: int) -> float:
        """Seconds from the client to the engine where nothing waits."""
        return self._per_request_s + self._per_token_s * prompt_tokens

    def enters_s(self, sent_s: float, prompt_tokens: int) -> float:
        """When a prompt sent at ``sent_s`` reaches the engine; calls come in order of ``sent_s``."""
        starts_s = max(sent_s, self._free_s)
        delay_s = self.delay_s(prompt_tokens)
        self._free_s = starts_s + self._busy_share * delay_s
        return starts_s + delay_s
