"""``Observations``: what a metrics server knows of the requests that engines have finished, by pool."""

from __future__ import annotations

from sim.engine.listener import EngineListener
from sim.engine.request import EngineRequest
from sim.fleet.relay import Relay
from sim.fleet.scaling.signals import Latencies

_NAN = float("nan")


class _Sums:
    """Of one pool, since it was last read."""

    __slots__ = ("decode_s", "e2e_s", "gaps", "input_tokens", "output_tokens", "requests", "ttft_s")

    def __init__(self) -> None:
        self.requests = 0
        self.input_tokens = 0
        self.output_tokens = 0
        self.gaps = 0
        self.ttft_s = 0.0
        self.decode_s = 0.0
        self.e2e_s = 0.0


class Observations(Relay):
    """Engines tell it; all they say goes on to ``others``."""

    def __init__(self, pools: int, others: EngineListener) -> None:
        super().__init__(others)
        self._sums = [_Sums() for _ in range(pools)]

    def take(self, pool: int) -> Latencies:
        """Means of the pool with index ``pool`` since they were last taken."""
        sums, self._sums[pool] = self._sums[pool], _Sums()
        n = sums.requests
        if not n:
            return Latencies(0, _NAN, _NAN, _NAN, _NAN, _NAN)
        return Latencies(
            n, sums.input_tokens / n, sums.output_tokens / n, sums.ttft_s / n,
            sums.decode_s / sums.gaps if sums.gaps else _NAN, sums.e2e_s / n,
        )  # fmt: skip

    def finished(self, request: EngineRequest) -> None:
        """See ``EngineListener``."""
        first_s, end_s = request.first_token_at, request.finished_at
        assert first_s is not None
        assert end_s is not None
        sums = self._sums[request.owner.server.pool_index]
        sums.requests += 1
        sums.input_tokens += request.prompt_len
        sums.output_tokens += request.sampled
        sums.gaps += request.sampled - 1
        sums.ttft_s += first_s - request.arrival
        sums.decode_s += end_s - first_s
        sums.e2e_s += end_s - request.arrival
        super().finished(request)
