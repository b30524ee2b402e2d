"""The volume from which a fleet at home stays cheaper than an API, found by simulation: one answer for each API."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from sim.analysis.economics import economics, economics_as_it_stands
from sim.analysis.ranges import Spread, ranges_of
from sim.cost.api_terms import ApiMonth
from sim.cost.break_even import Flip, flips
from sim.decision.other_loads import OtherLoads
from sim.decision.whole_replicas import WholeReplicas
from sim.search import Answer, ScenarioEvaluator


@dataclass(frozen=True)
class BreakEven:
    """Where home meets an API."""

    against: str
    tokens_per_day: float | None
    """Output tokens a day, of traffic like today's; None: none was found, ``why`` says why."""
    times_today: float | None = None
    """The same as a multiple of today's traffic."""
    why: str = ""
    how: str = ""
    """``simulated``, or ``closed form``."""
    replicas: int | None = None
    """Replicas at home there; None where they change, or pools differ."""
    spread: Spread | None = None
    """Where 90 % of the break-evens lie with the inputs anywhere in their stated ranges (closed form)."""
    flips: tuple[Flip, ...] = ()
    """What would make both cost the same at today's volume."""

    def as_dict(self) -> dict[str, Any]:
        """For ``decide.json``."""
        return {
            "against": self.against,
            "tokens_per_day": self.tokens_per_day,
            "times_today": self.times_today,
            "why": self.why,
            "how": self.how,
            "replicas": self.replicas,
            "interval_90_percent": None if self.spread is None else [self.spread.low, self.spread.high],
            "draws_without_break_even": None if self.spread is None else self.spread.never_share,
            "flips": [{"input": one.name, "today": one.today, "flips_at": one.flips_at} for one in self.flips],
        }


def find_break_evens(
    answer: Answer, evaluate: ScenarioEvaluator, apis: Sequence[tuple[str, ApiMonth]]
) -> tuple[BreakEven, ...]:
    """The break-even of ``answer`` (that of ``evaluate``'s scenario) with each of ``apis``: a name, and its month of the
    same traffic. Runs that one comparison asked for serve the others too."""
    today = answer.summary["cost"]["window"].get("output_tokens_per_day")
    if not answer.feasible or not today:
        why = "the fleet misses the SLO at today's volume" if not answer.feasible else "nothing was delivered"
        return tuple(BreakEven(name, None, why=why) for name, _ in apis)
    whole, others = WholeReplicas(answer, evaluate), OtherLoads(answer, evaluate)
    # the dearest first: its volume is the least and its runs the shortest, and they tell where to look for the next
    dearest_first = sorted(apis, key=lambda api: -api[1].usd())
    found = {name: _one(answer, whole, others, name, month, today) for name, month in dearest_first}
    return tuple(found[name] for name, _ in apis)


def _one(
    answer: Answer, whole: WholeReplicas, others: OtherLoads, name: str, month: ApiMonth, today: float
) -> BreakEven:
    summary, scenario = answer.summary, answer.scenario
    numbers = economics(scenario, summary, month)
    if numbers is None:
        stands = economics_as_it_stands(scenario, summary, month)
        crossing, spread = others.crossing(month), others.spread(stands, month)
        tilted = [one for one in flips(stands, today) if one.name != "replica speed"]
    else:
        requests, tokens = summary["requests"], summary["tokens"]
        answered = max(requests["completed"] + requests["escalated"], 1)
        crossing = whole.crossing(numbers)
        spread = ranges_of(scenario, numbers, tokens["input"] / answered, tokens["output"] / answered, today).break_even()
        tilted = flips(numbers, today)
    volume, times = crossing.tokens_per_day, None
    if volume is not None:
        times = volume / today
    found = BreakEven(name, volume, times, crossing.why, crossing.how, crossing.replicas)
    return replace(found, spread=spread, flips=tuple(one for one in tilted if one.flips_at is not None))
