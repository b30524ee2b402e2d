"""NVIDIA Dynamo's SLA planner: as many replicas as the predicted load needs at the latency targets.

Every ``interval_s`` it predicts the next interval's requests, prompts and answers and asks for

    replicas = ceil(requests a second / the most that one replica serves within both targets)

For a replica that prefills and decodes (Dynamo's aggregated mode) that most is found by raising the batch ``x`` until the
mean gap between tokens or the time to first token would exceed its target:

    ITL(x)  = step(x prompt / answer new tokens, x decodes of context prompt + answer / 2) x ITL correction
    TTFT(x) = the steps that compute x prompt / answer + prompt new tokens beside these decodes
    rate(x) = x / (answer x step)

A pool that prefills for others: one prompt after the other, 1 / the time of a lone one, TTFT's correction alone. A pool
that only decodes: x / (answer x ITL(x)) with no prompt tokens in the step, ITL's target and correction alone. Each decides
on what its own replicas report; the same requests reach both, which is what couples them.

``x`` ends where the KV cache, ``max_num_seqs`` or the token budget does. The corrections are what was observed over what
the model expects: ITL at the batch that Little's law gives; TTFT as min(1, observed / a lone prompt's), which scales the
prompts (prefix hits), as a wait in a queue is not the model's error. Dynamo fits its engine model to profiles or to steps it
observes; here it is the scenario's own step-time model.

Source: ai-dynamo/dynamo components/src/dynamo/planner core/throughput_scaling.py (``_throughput_agg``,
``_compute_prefill_replicas``, ``_compute_decode_replicas``) and core/perf_model/agg.py (``find_best_engine_agg_rps``,
``estimate_next_ttft``); the corrections and the defaults (180 s, TTFT 0.5 s, ITL 0.05 s, 50 intervals) from
components/planner/src/dynamo/planner utils/planner_core.py and defaults.py; read 2026-11-26. Dynamo's default predictor is
auto-ARIMA; ``trend`` stands for it: the straight line through the last ``predictor_window`` intervals, read one interval
ahead. Left out: load-based scaling, the GPU budget's rescaling (``fleet.gpu_budget`` refuses instead).
"""

from __future__ import annotations

import math
from collections import deque

from sim.fleet.scaling.signals import FleetWindow
from sim.perf import StepTimeModel
from sim.spec import EngineSpec
from sim.spec.autoscaler import SlaPlanner
from sim.spec.fleet import Role

_ROUNDING = 1e-9


class EngineProfile:
    """What profiling an engine would have told: latencies and rates of one replica, whose ranks all carry the same."""

    def __init__(self, steps: StepTimeModel, engine: EngineSpec, kv_tokens: int, role: Role = "both") -> None:
        self.role = role
        self._steps = steps
        self._ranks = engine.data_parallel_size
        self._kv_tokens = kv_tokens // self._ranks
        self._max_num_seqs = engine.max_num_seqs or 1
        self._budget = engine.max_num_batched_tokens or 1

    def lone_ttft_s(self, prompt: float) -> float:
        """Of a prompt that is alone."""
        return self._prefill_s(prompt, 0, 0)

    def itl_s(self, batch: float, prompt: float, answer: float, computed: float) -> float:
        """A step of ``batch`` sequences in the steady state, of whose prompts ``computed`` tokens have to be computed."""
        n = max(1, round(batch / self._ranks))
        return self._step_s(min(n * computed / answer, self._budget), n, round(n * (prompt + answer / 2)))

    def best_rate_per_s(
        self, prompt: float, answer: float, computed: float, ttft_target_s: float, itl_target_s: float
    ) -> float:
        """Requests a second of the largest batch within both targets; of a batch of one where that misses them."""
        if self.role == "prefill":
            return 1.0 / self.lone_ttft_s(computed)
        if self.role == "decode":
            computed, ttft_target_s = 0.0, math.inf
        context = prompt + answer / 2
        most = min(self._max_num_seqs, self._budget - 1, int(self._kv_tokens / context))
        best = 0.0
        for n in range(1, max(1, most) + 1):
            step_s = self.itl_s(n * self._ranks, prompt, answer, computed)
            queued = min(n * computed / answer, self._budget)
            ttft_s = self._prefill_s(queued + computed, n, round(n * context))
            balanced = n < self._budget and prompt / (self._budget - n) <= answer
            if best and (step_s > itl_target_s or ttft_s > ttft_target_s or not balanced):
                return best
            best = n * self._ranks / (answer * step_s)
            if step_s > itl_target_s or ttft_s > ttft_target_s:
                return best
        return best

    def _prefill_s(self, tokens: float, n_decode: int, context: int) -> float:
        """Seconds until ``tokens`` prompt tokens are computed, a budget a step, beside ``n_decode`` decodes."""
        whole, rest = divmod(max(1, round(tokens)), self._budget)
        seconds = whole * self._step_s(self._budget, n_decode, context)
        return seconds + (self._step_s(rest, n_decode, context) if rest else 0.0)

    def _step_s(self, new_tokens: float, n_decode: int, context: int) -> float:
        chunk = round(new_tokens)
        return self._steps.step([(chunk, 0)] if chunk else [], n_decode, context)


class SlaPlannerScaler:
    """See the module's head."""

    def __init__(self, spec: SlaPlanner, profile: EngineProfile, ttft_target_s: float, itl_target_s: float) -> None:
        self._trend = spec.predictor == "trend"
        self._profile = profile
        self._ttft_target_s = ttft_target_s
        self._itl_target_s = itl_target_s
        self._history: deque[tuple[float, float, float]] = deque(maxlen=spec.predictor_window)
        """Arrivals a second, prompt and answer tokens of past intervals."""
        self._prefill_correction = 1.0
        self._itl_correction = 1.0

    def desired(self, window: FleetWindow) -> int:
        """See ``Autoscaler``."""
        seen = window.latencies
        if seen.requests:
            self._history.append((window.arrivals_per_s, seen.input_tokens, seen.output_tokens))
            self._correct(window)
        elif self._history:
            self._history.append((window.arrivals_per_s, *self._history[-1][1:]))
        if not self._history:  # nobody has been answered yet
            return max(1, window.replicas) if window.arrivals_per_s else 1
        rate, prompt, answer = (self._ahead([point[i] for point in self._history]) for i in range(3))
        prompt, answer = max(1.0, prompt), max(1.0, answer)
        best = self._profile.best_rate_per_s(
            prompt, answer, prompt * self._prefill_correction, self._ttft_target_s, self._itl_target_s / self._itl_correction
        )
        return max(1, math.ceil(rate / best - _ROUNDING))

    def _correct(self, window: FleetWindow) -> None:
        seen = window.latencies
        role = self._profile.role
        if role != "decode":
            self._prefill_correction = min(1.0, seen.ttft_s / self._profile.lone_ttft_s(seen.input_tokens))
        if role != "prefill" and not math.isnan(seen.itl_s):
            batch = window.arrivals_per_s * seen.e2e_s / max(window.ready, 1)  # Little's law
            computed = seen.input_tokens * self._prefill_correction if role == "both" else 0.0
            expected_s = self._profile.itl_s(batch, seen.input_tokens, seen.output_tokens, computed)
            self._itl_correction = seen.itl_s / expected_s

    def _ahead(self, past: list[float]) -> float:
        """The next value."""
        n = len(past)
        if not self._trend or n < 3:
            return past[-1]
        middle, mean = (n - 1) / 2, sum(past) / n
        slope = sum((i - middle) * value for i, value in enumerate(past)) / sum((i - middle) ** 2 for i in range(n))
        return max(0.0, mean + slope * (n - middle))
