"""``simulate_cell``: builds the house for one fleet behind one gateway, lets time pass, returns the columns."""

from __future__ import annotations

import gc
import math
import time
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import pandas as pd

from sim.columns import Columns, let_go
from sim.engine.clock import DEADLINE, Clock, Moment
from sim.engine.gaps import GapHistogram
from sim.errors import InvariantError
from sim.fleet.books import Books
from sim.fleet.fleet import Fleet
from sim.fleet.roster import Roster
from sim.gateway.engine_side import HandoffSource
from sim.gateway.gateway import Gateway
from sim.gateway.policies import answering_pools
from sim.perf.steady import MeanRequest
from sim.plugins import Plugins, Policies
from sim.record import Recorder, Result
from sim.record.recorder import FAILED, GiveUp
from sim.record.result import TIMESERIES_COLUMNS
from sim.run.passing import let_time_pass
from sim.run.sampler import Sampler
from sim.run.step_records import StepRecords
from sim.spec import Scenario
from sim.watch import watch_of_this_job
from sim.workload import Trace

_PATIENCE_S = 3 * 86_400.0
"""A request that has no outcome so long after the last arrival never gets one: its fleet does not come up. Longer than a
weekend without machines."""


_TIMES_LET_GO = 500
"""How often a run whose columns lie in files gives their memory back."""


@contextmanager
def collector_rests() -> Iterator[None]:
    """Nothing of a run is cyclic garbage before its end: tracing its growing columns again and again would only cost
    time."""
    collecting = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collecting:
            gc.enable()


@collector_rests()
def simulate_cell(
    scenario: Scenario, trace: Trace, every_s: float, *, give_up: GiveUp | None = None, policies: Policies | None = None
) -> Result:
    """One fleet behind one gateway; the rest as ``simulate`` has it. ``every_s``: the time series' grid, whose
    watts are yet to be found."""
    clock = Clock()
    columns = Columns(len(trace), in_files=len(trace) > scenario.output.most_requests_in_memory)
    recorder = Recorder(columns, (*scenario.fleet.all_pools(), *answering_pools(scenario.gateway)), give_up)
    roster = Roster(clock, scenario, recorder)
    plugins = Plugins(scenario.seed, policies)
    gateway = Gateway(scenario, trace, clock, recorder, roster.endpoints, plugins)
    gaps = GapHistogram()
    steps = StepRecords() if scenario.output.steps else None
    handover = HandoffSource(gateway.wires) if gateway.wires is not None else None
    Fleet(scenario, roster, gateway.dispatcher, gaps, _mean_request(trace), plugins, steps, handover)
    books = Books(roster, scenario)
    sampler = None
    if scenario.output.timeseries:
        sampler = Sampler(clock, roster.endpoints, books, gateway.counts, recorder, every_s)

    watch = watch_of_this_job()
    watch.run_begins(lambda: (clock.now, recorder.open_requests), trace.duration_s, len(trace))
    wall, cpu = time.perf_counter(), time.process_time()
    try:
        gateway.start()
        clock.at(trace.duration_s + _PATIENCE_S, DEADLINE, lambda _: _give_up_waiting(clock, roster, recorder))
        if columns.in_files:
            _let_go_at_times(clock, trace.duration_s / _TIMES_LET_GO)
        let_time_pass(clock, recorder)
        end_s = clock.now
        for server in roster.servers:
            if not server.replica.stopped:
                gateway.dispatcher.unfinished(server.replica.stop(), server)
        names = [server.name for server in roster.servers]
        arrival_s = np.frombuffer(gateway.arrival_s)
        requests = recorder.frame(arrival_s, trace.input_tokens, dict(trace.labels), names)
        cpu_s, wall_s = time.process_time() - cpu, time.perf_counter() - wall
    finally:
        watch.run_ends()
    replicas = books.close(end_s)
    return Result(
        scenario=scenario,
        requests=requests,
        replicas=replicas,
        timeseries=sampler.frame(requests) if sampler is not None else pd.DataFrame(columns=list(TIMESERIES_COLUMNS)),
        events=recorder.events,
        itl=gaps.histogram(),
        end_s=end_s,
        last_arrival_s=float(arrival_s.max(initial=0.0)),
        engine_steps=int(replicas["engine_steps"].sum()),
        kernel_events=clock.events_scheduled,
        wall_s=wall_s,
        cpu_s=cpu_s,
        ranks=books.ranks(),
        tiers=books.tiers(),
        features=books.features(),
        steps=steps.frame() if steps is not None else None,
        stopped_early=recorder.stopped_early,
        gateway=gateway.figures(),
        api_bill_usd={provider.name: dict(provider.bill_usd) for provider in gateway.providers.all},
        work=recorder.work_by_pool(),
        inputs=dict(trace.provenance.get("files", {})),
        left_out=trace.left_out(),
    )


def _mean_request(trace: Trace) -> MeanRequest:
    if not len(trace):
        return MeanRequest(1.0, 1.0)
    return MeanRequest(max(1.0, float(trace.input_tokens.mean())), max(1.0, float(trace.output_tokens.mean())))


def _let_go_at_times(clock: Clock, every_s: float) -> None:
    """Give back, now and then, the memory of requests that have their outcome."""

    def go_on(moment: Moment) -> None:
        let_go()
        if moment.value < _TIMES_LET_GO:
            clock.at(moment.value * every_s, DEADLINE, go_on, moment.value + 1)

    clock.at(every_s, DEADLINE, go_on, 2)


def _give_up_waiting(clock: Clock, roster: Roster, recorder: Recorder) -> None:
    """Every request still open has failed: its fleet does not come up.

    Raises:
        InvariantError: servers are ready and nothing is left to happen, so that somebody has been forgotten.
    """
    if roster.endpoints.ready and clock.peek() == math.inf:
        raise InvariantError(f"{recorder.open_requests} requests have no outcome, but nothing happens after {clock.now} s")
    for row, outcome in enumerate(recorder.outcome):
        if outcome < 0:
            recorder.lost(row, clock.now, FAILED, "never_served")
