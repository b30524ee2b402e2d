"""The volume from which a fleet at home stays cheaper than an API, found by simulation.

Equal replicas, bought whole: n replicas cost home(n), an API asks a price a token. Just above what n replicas carry one more
must be bought, so home is cheaper from there on if n replicas carry within the SLO at least the volume

    v(n) = home(n + 1) / (API $ per token - what grows with volume at home)

which one simulation tells. With n* the fewest that do, the break-even is v(n* - 1): below it the API is cheaper, above it
home stays cheaper (larger fleets share bursts and carry no less each). The capacity curve of the search says where to
begin. Where a load is too large to be simulated (``decide.most_requests``) the curve answers, and is said to.

A fleet of another make (pools, autoscaled) is simulated at other loads until its month meets the API's; a load at which it
misses its SLO ends that.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from sim.analysis.economics import economics
from sim.analysis.ranges import Spread, ranges_of
from sim.analysis.steady import steady_replica
from sim.cost.break_even import DAYS_PER_MONTH, Economics, Flip, break_even_tokens_per_day, flips
from sim.cost.prices import ApiPrice
from sim.search import Answer, Point, ScenarioEvaluator
from sim.units import SECONDS_PER_DAY, TOKENS_PER_MILLION

_MOST_RUNS = 14
_WITHIN = 0.01


@dataclass(frozen=True)
class BreakEven:
    """Where home meets an API."""

    against: str
    tokens_per_day: float | None
    """Output tokens a day; None: none was found, ``why`` says why."""
    why: str = ""
    how: str = ""
    """``simulated``, or ``closed form``."""
    replicas: int | None = None
    """Replicas at home there."""
    spread: Spread | None = None
    """90 % interval with every input anywhere in its stated range (closed form)."""
    flips: tuple[Flip, ...] = ()
    """What would make both cost the same at today's volume."""

    def as_dict(self) -> dict[str, Any]:
        """For ``decide.json``."""
        return {
            "against": self.against,
            "tokens_per_day": self.tokens_per_day,
            "why": self.why,
            "how": self.how,
            "replicas": self.replicas,
            "interval_90_percent": None if self.spread is None else [self.spread.low, self.spread.high],
            "draws_without_break_even": None if self.spread is None else self.spread.never_share,
            "flips": [{"input": one.name, "today": one.today, "flips_at": one.flips_at} for one in self.flips],
        }


def find_break_even(answer: Answer, evaluate: ScenarioEvaluator, api: ApiPrice, against: str) -> BreakEven:
    """The break-even of ``answer`` (that of ``evaluate``'s scenario) with ``api``."""
    summary = answer.summary
    window, tokens = summary["cost"]["window"], summary["tokens"]
    today = window.get("output_tokens_per_day")
    if not answer.feasible:
        return BreakEven(against, None, "the fleet misses the SLO at today's volume")
    if not today:
        return BreakEven(against, None, "nothing was delivered")
    input_per_output = tokens["input"] / tokens["output"]
    numbers = economics(answer.scenario, summary, api, input_per_output)
    per_token = _api_per_token(api, input_per_output)
    if numbers is None:
        return _at_other_loads(answer, evaluate, per_token, against)
    answered = max(summary["requests"]["completed"] + summary["requests"]["escalated"], 1)
    prompt, reply = tokens["input"] / answered, tokens["output"] / answered
    ranges = ranges_of(answer.scenario, numbers, prompt, reply, today)
    flipping = tuple(one for one in flips(numbers, today) if one.flips_at is not None)
    found = _whole_replicas(answer, evaluate, numbers, prompt, reply)
    return replace(found, against=against, spread=ranges.break_even(), flips=flipping)


def _api_per_token(api: ApiPrice, input_per_output: float) -> float:
    return (api.output_usd_per_1m + input_per_output * api.input_usd_per_1m) / TOKENS_PER_MILLION


def _whole_replicas(
    answer: Answer, evaluate: ScenarioEvaluator, numbers: Economics, prompt: float, reply: float
) -> BreakEven:
    spec = evaluate.scenario.decide
    margin = numbers.api_usd_per_month(1.0) - numbers.by_volume_usd_per_month(1.0)
    if margin <= 0:
        return BreakEven("", None, "never: the API costs less than what grows with volume at home", "simulated")

    def volume(n: int) -> float:
        return numbers.fleet_usd_per_month(n + 1, 0.0) / margin

    each = volume(spec.most_replicas) / (spec.most_replicas + 1)
    bound = steady_replica(answer.scenario, prompt, reply).rate_per_s * reply * SECONDS_PER_DAY
    if each > bound:
        why = (
            f"never: a replica would have to deliver {each / 1e6:.1f}M output tokens a day, and cannot deliver more than "
            f"{bound / 1e6:.1f}M at its largest batch"
        )
        return BreakEven("", None, why, "closed form")
    runs = _Runs(answer, evaluate, spec.most_requests)
    guess = break_even_tokens_per_day(numbers, most_replicas=spec.most_replicas)
    n = spec.most_replicas if guess is None else numbers.capacity.replicas(guess)
    step, lowest_true, highest_false = 1, math.inf, 0
    while lowest_true - highest_false > 1 and runs.left:
        if runs.carries(n, volume(n), numbers):
            lowest_true = n
        else:
            highest_false = n
        if math.isinf(lowest_true):
            n, step = min(n + step, spec.most_replicas), step * 2
            if highest_false == spec.most_replicas:
                break
        elif highest_false == 0 and lowest_true > 1:
            n, step = max(int(lowest_true) - step, 1), step * 2
        else:
            n = (int(lowest_true) + highest_false) // 2
    how = "simulated" if runs.all_simulated else "closed form"
    if math.isinf(lowest_true):
        return BreakEven("", None, f"not with up to {highest_false} replicas at home", how)
    fewest = int(lowest_true)
    return BreakEven("", volume(fewest - 1), "", how, fewest)


class _Runs:
    """Asks whether n replicas carry a volume: by one run where the load is small enough, else of the capacity curve."""

    def __init__(self, answer: Answer, evaluate: ScenarioEvaluator, most_requests: int) -> None:
        self._evaluate = evaluate
        self._scale_of_a_token = answer.point.rate_scale / answer.summary["cost"]["window"]["output_tokens_per_day"]
        self._requests_at_one = answer.summary["requests"]["offered"] / answer.point.rate_scale
        self._most_requests = most_requests
        self.left = _MOST_RUNS
        self.all_simulated = True

    def carries(self, n: int, tokens_per_day: float, numbers: Economics) -> bool:
        self.left -= 1
        scale = tokens_per_day * self._scale_of_a_token
        if scale * self._requests_at_one > self._most_requests:
            self.all_simulated = False
            return numbers.capacity.load(n) >= tokens_per_day
        return self._evaluate(replicas=n, rate_scale=scale).holds


def _at_other_loads(answer: Answer, evaluate: ScenarioEvaluator, per_token: float, against: str) -> BreakEven:
    """By bisection over the load: the month at home minus the API's, where the SLO holds."""
    spec = evaluate.scenario.decide
    replicas = answer.point.replicas

    def saved(point: Point) -> float:
        window = point.summary["cost"]["window"]
        return float(window["output_tokens_per_day"] * DAYS_PER_MONTH * per_token - window["usd_per_month"])

    def at(scale: float) -> Point:
        return evaluate(replicas=replicas, rate_scale=scale)

    scale, low, high = answer.point.rate_scale, None, None
    point: Point = answer.point
    offered = answer.summary["requests"]["offered"] / scale
    for _ in range(_MOST_RUNS):
        if saved(point) >= 0:
            high = point
        else:
            low = point
        if high is not None and low is not None and high.rate_scale <= low.rate_scale * (1 + _WITHIN):
            break
        if high is None:
            scale *= 2
        elif low is None:
            scale /= 2
        else:
            scale = math.sqrt(low.rate_scale * high.rate_scale)
        if scale * offered > spec.most_requests:
            return BreakEven(against, None, f"not below {scale / 2:.3g} times the trace's load", "simulated")
        if scale * offered < 20:
            return BreakEven(against, 0.0, "", "simulated", replicas)
        point = at(scale)
        if not point.holds and high is None:
            why = f"not before the fleet misses the SLO, at {scale:.3g} times the trace's load"
            return BreakEven(against, None, why, "simulated")
    if high is None or low is None:
        return BreakEven(against, None, f"not found in {_MOST_RUNS} runs", "simulated")
    return BreakEven(against, _crossing(low, high, saved), "", "simulated", replicas)


def _crossing(low: Point, high: Point, saved: Callable[[Point], float]) -> float:
    volumes = [float(point.summary["cost"]["window"]["output_tokens_per_day"]) for point in (low, high)]
    below, above = saved(low), saved(high)
    share = below / (below - above) if below != above else 1.0
    return volumes[0] + (volumes[1] - volumes[0]) * share
