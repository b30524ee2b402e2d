"""Equal replicas, bought whole: from which volume on they stay cheaper than an API.

n replicas cost home(n), and just above what they carry within the SLO one more must be bought. So home is cheaper from
there on if n replicas carry at least the volume v(n) at which n + 1 of them cost what the API asks, which one simulation
tells. With n* the fewest that do, the break-even is v(n* - 1): below it the API is cheaper, above it home stays cheaper
(larger fleets share bursts and carry no less each). The capacity curve of the search says where to begin, the fluid bound
of a replica below which counts nothing needs to be run. Where a load is too large to be simulated (``decide.most_requests``)
the curve answers, and is said to.
"""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from sim.analysis.steady import steady_replica
from sim.cost.break_even import Economics, break_even_tokens_per_day
from sim.cost.capacity_curve import CapacityCurve
from sim.decision.crossing import Crossing
from sim.record.result import holds
from sim.search import Answer, ScenarioEvaluator
from sim.units import SECONDS_PER_DAY

_MOST_RUNS = 14
_SHARED = 0.01
"""Share of the prompt tokens that a cache held, from which on it counts."""


class WholeReplicas:
    """One sized fleet; its runs are kept from one API to the next."""

    def __init__(self, answer: Answer, evaluate: ScenarioEvaluator) -> None:
        self._answer = answer
        self._evaluate = evaluate
        self._spec = evaluate.scenario.decide
        self._today = float(answer.summary["cost"]["window"]["output_tokens_per_day"])
        self._scale_of_a_token = answer.point.rate_scale / self._today
        self._requests_at_one = answer.summary["requests"]["offered"] / answer.point.rate_scale

    def crossing(self, numbers: Economics) -> Crossing:
        """The break-even of ``numbers``."""
        most = self._spec.most_replicas
        last = numbers.crossing_tokens_per_day(most + 1)
        if last is None:
            return Crossing(None, "never: the API costs less than what grows with volume at home")
        bound = self._bound()
        each, short = last / (most + 1), self._certainly_short(numbers, bound)
        if each > bound:
            why = (
                f"never: a replica would have to deliver {each / 1e6:.1f}M output tokens a day, and cannot deliver more "
                f"than {bound / 1e6:.1f}M at its largest batch"
            )
            return Crossing(None, why, "closed form")
        numbers = replace(numbers, capacity=self._capacity())
        guess = break_even_tokens_per_day(numbers, most_replicas=most)
        n = most if guess is None else max(numbers.capacity.replicas(guess), 1)
        n = max(n, short + 1)
        step, lowest_true, highest_false, how = 1, most + 1, short, "simulated"
        for _ in range(_MOST_RUNS):
            if lowest_true - highest_false <= 1:
                break
            carried, simulated = self._carries(n, numbers)
            how = how if simulated else "closed form"
            if carried:
                lowest_true = n
            else:
                highest_false = n
            middle = (lowest_true + highest_false) // 2
            if lowest_true > most:
                n, step = min(n + step, most), step * 2
            else:
                n, step = max(lowest_true - step, middle), step * 2
        if lowest_true > most:
            return Crossing(None, f"not with up to {highest_false} replicas at home", how)
        return Crossing(numbers.crossing_tokens_per_day(lowest_true), "", how, lowest_true)

    def _carries(self, n: int, numbers: Economics) -> tuple[bool, bool]:
        """Whether ``n`` replicas carry the volume at which one more of them costs what the API asks, and whether that was
        simulated: else the load is too large, and the capacity curve answers."""
        volume = numbers.crossing_tokens_per_day(n + 1)
        if volume is None:
            return False, True
        scale = volume * self._scale_of_a_token
        known = self._known(n, scale)
        if known is not None:
            return known, True
        if scale * self._requests_at_one > self._spec.most_requests:
            return numbers.capacity.load(n) >= volume, False
        if scale * self._requests_at_one < 1:
            return True, True
        point = self._evaluate(replicas=n, rate_scale=scale)
        return point.holds and self._evaluate.proved(point).holds, True

    def _certainly_short(self, numbers: Economics, bound: float) -> int:
        """The most replicas that are known not to carry their volume without a run: each would have to deliver more than
        ``bound``."""
        low, high = 0, self._spec.most_replicas + 1
        while high - low > 1:
            middle = (low + high) // 2
            volume = numbers.crossing_tokens_per_day(middle + 1)
            short = volume is None or volume > middle * bound
            low, high = (middle, high) if short else (low, middle)
        return low

    def _known(self, n: int, scale: float) -> bool | None:
        """Whether ``n`` replicas carry a load of which the runs so far tell: what fewer carried, or more missed."""
        decided = self._evaluate.decided
        if any(one.holds and one.replicas <= n and one.rate_scale >= scale for one in decided):
            return True
        return False if any(not one.holds and one.replicas >= n and one.rate_scale <= scale for one in decided) else None

    def _capacity(self) -> CapacityCurve:
        """What is known by now, with the runs of earlier comparisons."""
        loads = [(one.holds, one.replicas, one.rate_scale / self._scale_of_a_token) for one in self._evaluate.decided]
        held = [(n, load) for holds, n, load in loads if holds]
        return CapacityCurve.of(held, [(n, load) for holds, n, load in loads if not holds])

    def _bound(self) -> float:
        """Output tokens a day that the fleet's traffic cannot exceed for each replica: the fluid model's of what replicas
        answer, over their share of all answers (APIs and caches give the others). No bound where one step yields several
        tokens (drafts), a prompt comes from elsewhere, prompts share their cache (the batch is then larger than the fluid
        model's), or the APIs' share grows with the load."""
        scenario, summary = self._answer.scenario, self._answer.summary
        engine = scenario.engine
        if engine.speculative.drafts or engine.kv_offloading_size_gib or scenario.fleet.pools:
            return math.inf
        hybrid = scenario.gateway.hybrid
        if (summary["prefix_hit_rate"] or 0.0) > _SHARED or (hybrid is not None and hybrid.overload_waiting is not None):
            return math.inf
        requests = self._answer.result.requests
        written = requests["output_tokens"].to_numpy(dtype=float)
        here = holds(requests["outcome"], "completed") & ~holds(requests["pool"], "cache", "dedupe")
        if not here.any():
            return math.inf
        prompt, reply = float(requests["input_tokens"].to_numpy(dtype=float)[here].mean()), float(written[here].mean())
        steady = steady_replica(scenario, prompt, reply)
        busy_s: float = steady.s_per_output_token * reply + steady.s_per_input_token * prompt
        return float(reply * SECONDS_PER_DAY / busy_s) * float(np.nansum(written) / written[here].sum())
