"""``simulate(scenario, trace) -> Result``: one question, one run, in one cell or in several."""

from __future__ import annotations

from dataclasses import replace

from sim.analysis.energy import watts_over_time
from sim.analysis.laws import violations
from sim.columns import let_go
from sim.errors import InvariantError
from sim.plugins import Policies
from sim.record import Result
from sim.record.recorder import GiveUp
from sim.run.asked_of_traffic import check_asked_of_traffic, check_features, with_vain_acceptance_said
from sim.run.cell import simulate_cell
from sim.run.cells import simulate_cells
from sim.run.sampler import grid_s
from sim.spec import Scenario
from sim.workload import Trace
from sim.workload.timeline import load_trace


def simulate(
    scenario: Scenario,
    trace: Trace | None = None,
    *,
    give_up: GiveUp | None = None,
    policies: Policies | None = None,
) -> Result:
    """Replay ``trace`` (by default the scenario's own workload) until every request has its outcome.

    Args:
        scenario: everything that is asked.
        trace: the arrivals; they are taken as they are (``rate_scale`` and windows belong to ``load_trace``).
        give_up: called once for every finished request with TTFT, TPOT and E2E (seconds, NaN = undefined) and whether it
            was answered; a returned text ends the run as ``Result.stopped_early``, its rows so far kept. A fleet in cells
            always runs to its end.
        policies: classes of routers, retries, admission or autoscalers that the scenario names as plugins, by name.

    Raises:
        DoesNotFitError, ConfigError, TraceError: as the parts of the scenario raise them.
        InvariantError: nothing is left to happen while requests are open, or, with ``check_invariants``, an engine or the
            records broke a law.

    >>> import sim
    >>> result = sim.simulate(sim.scenario(workload={"limit": 200}, fleet={"replicas": 2}))
    >>> len(result.requests), set(result.requests["outcome"])
    (200, {'completed'})
    """
    if trace is None:
        trace = load_trace(scenario)
        check_asked_of_traffic(scenario, trace)
    check_features(scenario, trace)
    trace = with_vain_acceptance_said(scenario, trace)
    every_s = grid_s(trace.duration_s, sum(pool.begins_with(scaled=False) for pool in scenario.fleet.all_pools().values()))
    if scenario.fleet.cells > 1:
        result = simulate_cells(scenario, trace, every_s, policies)
    else:
        result = simulate_cell(scenario, trace, every_s, give_up=give_up, policies=policies)
    if scenario.output.timeseries:
        result = replace(result, timeseries=result.timeseries.assign(watts=watts_over_time(result)))
    let_go()
    if scenario.check_invariants and (broken := violations(result)):
        raise InvariantError("\n".join(broken))
    return result
