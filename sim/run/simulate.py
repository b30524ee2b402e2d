"""``simulate(scenario, trace) -> Result``: builds the house for one run, lets time pass, returns the columns."""

from __future__ import annotations

import gc
import time

import pandas as pd
import simpy

from sim.engine.clock import Clock
from sim.engine.gaps import GapHistogram
from sim.errors import InvariantError
from sim.fleet.fleet import Fleet
from sim.gateway.gateway import Gateway
from sim.record import Recorder, Result
from sim.record.recorder import GiveUp
from sim.record.result import TIMESERIES_COLUMNS
from sim.run.sampler import Sampler, grid_s
from sim.run.step_records import StepRecords
from sim.spec import Scenario
from sim.workload import Trace, load_workload

_EVENTS_AT_A_TIME = 4096


def simulate(scenario: Scenario, trace: Trace | None = None, *, give_up: GiveUp | None = None) -> Result:
    """Replay ``trace`` (by default the scenario's own workload) until every request has its outcome.

    Args:
        scenario: everything that is asked.
        trace: the arrivals; they are taken as they are (``rate_scale`` and windows belong to ``load_workload``).
        give_up: called once for every finished request with TTFT, TPOT and E2E (seconds, NaN = undefined) and whether it
            was answered; a returned text ends the run as ``Result.stopped_early``, its rows so far kept.

    Raises:
        DoesNotFitError, ConfigError, TraceError: as the parts of the scenario raise them.
    """
    if trace is None:
        trace = load_workload(scenario.workload, scenario.seed)
    clock = Clock()
    recorder = Recorder(len(trace), tuple(scenario.fleet.all_pools()), give_up)
    gateway = Gateway(clock, scenario.gateway, trace, recorder)
    gaps = GapHistogram()
    steps = StepRecords() if scenario.output.steps else None
    fleet = Fleet(
        clock, scenario, gateway.finished, gateway.aborted, gaps, steps.record if steps is not None else None
    )
    sampler = Sampler(clock, fleet, gateway, recorder, grid_s(trace.duration_s)) if scenario.output.timeseries else None

    # Nothing of a run is cyclic garbage; tracing its growing columns again and again would only cost time.
    collecting = gc.isenabled()
    gc.disable()
    wall, cpu = time.perf_counter(), time.process_time()
    try:
        gateway.start(fleet)
        step = clock.step
        while recorder.open_requests and recorder.stopped_early is None:
            for _ in range(_EVENTS_AT_A_TIME):
                if not recorder.open_requests or recorder.stopped_early is not None:
                    break
                step()
        end_s = clock.now
        requests = recorder.frame(trace.arrival_s, trace.input_tokens, dict(trace.labels), [s.name for s in fleet.servers])
        cpu_s, wall_s = time.process_time() - cpu, time.perf_counter() - wall
    except simpy.core.EmptySchedule:
        raise InvariantError(
            f"{recorder.open_requests} requests have no outcome, but nothing is left to happen after {clock.now} s"
        ) from None
    finally:
        if collecting:
            gc.enable()
    replicas = fleet.books(end_s)
    return Result(
        scenario=scenario,
        requests=requests,
        replicas=replicas,
        timeseries=sampler.frame(requests) if sampler is not None else pd.DataFrame(columns=list(TIMESERIES_COLUMNS)),
        events=recorder.events,
        itl=gaps.histogram(),
        end_s=end_s,
        last_arrival_s=trace.duration_s,
        engine_steps=int(replicas["engine_steps"].sum()),
        kernel_events=clock.events_scheduled,
        wall_s=wall_s,
        cpu_s=cpu_s,
        steps=steps.frame() if steps is not None else None,
        stopped_early=recorder.stopped_early,
        inputs=dict(trace.provenance.get("files", {})),
    )
