"""Questions that need many runs, answered in this process: how many replicas, how much load, which option."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from sim.analysis.economics import TIE
from sim.cost import gpus_per_replica
from sim.decision import Option, Row, apis_of_options, decide_options
from sim.errors import ConfigError, DoesNotFitError, InfeasibleError
from sim.search import DEFAULT_CAPS, Answer, Trial, cap_walk, solve, trial_of
from sim.spec import Scenario


@dataclass(frozen=True)
class SizedCap:
    """One batch size of one scenario, with the fewest replicas that meet the SLO at it."""

    scenario: Scenario
    """As it was asked, with this batch size."""
    max_num_seqs: int
    answer: Answer | None
    """None where it cannot run."""
    reason: str = ""
    """Why it cannot run, or by what it misses."""

    @property
    def holds(self) -> bool:
        """Whether the SLO is met."""
        return self.answer is not None and self.answer.feasible

    @property
    def usd_per_1m_output_tokens(self) -> float:
        """US dollars per 1M output tokens within the window of arrivals; infinite where nothing ran."""
        return math.inf if self.answer is None else self.answer.point.usd_per_1m_output_tokens


@dataclass(frozen=True)
class Sizing:
    """What ``size`` found: every batch size that was tried, and the cheapest that meets the SLO."""

    rows: tuple[SizedCap, ...]

    @property
    def best(self) -> SizedCap | None:
        """The cheapest row that holds (within 0.5 % it is a tie: the smallest batch size, then the fewest GPUs); None where
        none does."""
        holding = [row for row in self.rows if row.holds]
        least = min((row.usd_per_1m_output_tokens for row in holding), default=math.inf)
        tied = [row for row in holding if row.usd_per_1m_output_tokens <= least * (1 + TIE)]
        return min(tied, key=lambda row: (row.max_num_seqs, _gpus(row), row.usd_per_1m_output_tokens), default=None)


def size(*scenarios: Scenario, batch_sizes: Sequence[int] | None = None) -> Sizing:
    """The fewest replicas that meet the SLO, for each batch size of each scenario; then the cheapest.

    Args:
        scenarios: what to choose from, e.g. one a GPU type; each with a plain fleet, whose ``replicas`` is what is sought.
        batch_sizes: values of ``engine.max_num_seqs`` in sequences, default 8 to 1,024 by doubling; those that cannot win
            (above a missed TPOT, below a missed TTFT) are left out.

    Returns:
        Rows in the order of trial. Dollars are US$ per 1M output tokens, latencies seconds.

    Raises:
        ConfigError, TraceError: as the scenarios raise them. What does not fit, or is not paid for, is a row with its
            reason.

    >>> import sim
    >>> found = sim.size(sim.scenario(workload={"limit": 400}), batch_sizes=[64, 128])
    >>> found.best.holds, found.best.answer.point.replicas > 1
    (True, True)
    """
    if not scenarios:
        raise ConfigError("size needs one scenario or more, e.g. sim.size(sim.scenario(gpu='h100'))")
    rows: list[SizedCap] = []
    for scenario in scenarios:
        walk = cap_walk(batch_sizes or DEFAULT_CAPS)
        cap = next(walk)
        while True:
            row = _sized(replace(scenario, engine=replace(scenario.engine, max_num_seqs=cap)), cap)
            rows.append(row)
            try:
                cap = walk.send(Trial(holds=False) if row.answer is None else trial_of(row.answer.point))
            except StopIteration:
                break
    return Sizing(tuple(rows))


def capacity(scenario: Scenario) -> Answer:
    """The highest load that the scenario's fleet sustains within its SLO.

    Returns:
        ``answer.point.rate_scale`` is that load as a multiple of the trace's; ``answer.points`` are all loads that were
        simulated; ``answer.feasible`` is False where even the lowest load misses.

    Raises:
        ConfigError, DoesNotFitError, TraceError: as the scenario raises them.

    >>> import sim
    >>> answer = sim.capacity(sim.scenario(fleet={"replicas": 2}, workload={"limit": 400}))
    >>> answer.feasible, answer.point.rate_scale > 0
    (True, True)
    """
    return solve(scenario, "load")


def decide(options: Mapping[str, Scenario], *, apis: bool = True) -> list[Row]:
    """Options side by side at the same traffic and SLO: each sized and priced, and set against each API.

    Args:
        options: name -> scenario; a plain fleet is sized, what scales by itself runs as it stands.
        apis: also every API that sells an option's model, from the dated price table.

    Returns:
        Rows, the cheapest month that meets the SLO first; ``row.usd_per_month`` in US dollars, ``row.break_evens`` with
        each API, the cheapest first.

    Raises:
        ConfigError: no option.

    >>> import sim
    >>> small = sim.scenario(workload={"limit": 300}, fleet={"replicas": 2}, search={"solve": "none"})
    >>> [row.kind for row in sim.decide({"two L40S": small}, apis=False)]
    ['self-hosted']
    """
    if not options:
        raise ConfigError("decide needs one option or more: {name: scenario}")
    stated = [Option(name, scenario) for name, scenario in options.items()]
    return decide_options([*stated, *apis_of_options(stated, apis)])


def _sized(scenario: Scenario, cap: int) -> SizedCap:
    try:
        answer = solve(scenario, "replicas")
    except (DoesNotFitError, InfeasibleError) as error:
        return SizedCap(scenario, cap, None, str(error))
    missed = answer.note or str(answer.summary["slo"].get("missed_by") or answer.point.verdict)
    return SizedCap(scenario, cap, answer, "" if answer.feasible else missed)


def _gpus(row: SizedCap) -> int:
    return 0 if row.answer is None else gpus_per_replica(row.scenario.engine) * row.answer.point.replicas
