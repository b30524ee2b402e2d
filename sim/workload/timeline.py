"""Changes of the arrivals themselves, from a scenario's timeline: rate, context, output, route mix.

    rate     factor below 1 thins by one fixed uniform a request; above 1 adds copies shifted within the window
    context  prompts longer or shorter (``ScaleContext`` does the same for a whole workload)

They apply to requests that arrive in [at_s, until_s), in the timeline's order.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from sim.spec import Scenario
from sim.spec.timeline import ContextChange, OutputChange, RateChange, RouteMixChange, TraceChange
from sim.spec.workload import Mix, ScaleContext
from sim.workload.load import load_workload
from sim.workload.merge import merged
from sim.workload.scale import rate_scaled
from sim.workload.trace import Trace, in_files
from sim.workload.transform import transformed


def load_trace(scenario: Scenario) -> Trace:
    """The arrivals of ``scenario``: its workload with its timeline's changes, in files where its records will be."""
    trace = load_workload(scenario.workload, scenario.seed)
    for place, change in enumerate(scenario.timeline):
        if isinstance(change, TraceChange):
            trace = _changed(change, trace, scenario.seed, place)
    return in_files(trace) if len(trace) > scenario.output.most_requests_in_memory else trace


def _changed(change: TraceChange, trace: Trace, seed: int, place: int) -> Trace:
    until_s = np.inf if change.until_s is None else change.until_s
    inside = (trace.arrival_s >= change.at_s) & (trace.arrival_s < until_s)
    if not inside.any():
        return trace
    part = trace.take(inside)
    match change:
        case RateChange():
            end_s = min(until_s, float(trace.arrival_s[-1]) + 1e-6)
            shifted = part.take(np.arange(len(part)), part.arrival_s - change.at_s)
            scaled = rate_scaled(shifted, change.factor, end_s - change.at_s, seed)
            part = scaled.take(np.arange(len(scaled)), scaled.arrival_s + change.at_s)
        case ContextChange():
            step = ScaleContext(factor=change.factor, max_tokens=change.max_tokens, routes=change.routes)
            part = transformed(step, part, 0.0, seed, place)[0]
        case OutputChange():
            chosen = np.ones(len(part), dtype=bool)
            if change.routes and "route" in part.labels:
                chosen = np.isin(part.labels["route"].astype(str), change.routes)
            longer = np.maximum(np.rint(part.output_tokens * change.factor), 1).astype(np.int64)
            part = replace(part, output_tokens=np.where(chosen, longer, part.output_tokens))
        case RouteMixChange():
            part = transformed(Mix(label="route", shares=change.shares), part, 0.0, seed, 1000 + place)[0]
    return merged([trace.take(~inside), part]) if not inside.all() else part
