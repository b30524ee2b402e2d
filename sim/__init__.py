"""servecap: what will it really cost to serve, at p95?

A discrete-event capacity simulator for self-hosted LLM serving. As a library:

    import sim

    scenario = sim.scenario(gpu="h100", model="llama3_8b", workload={"path": "mine.csv"}, slo={"ttft_p95_s": 1.0})
    result = sim.simulate(scenario)            # one run: columns, no files
    summary = sim.summarize(result)            # latency, cost, the SLO's verdict
    sizing = sim.size(scenario)                # the fewest replicas for each batch size, and the cheapest
    sim.to_frame(sizing)                       # pandas, units in the columns' names

Policies of one's own are classes of the session, ``sim.simulate(scenario, policies={"mine": MyRouter})`` with
``gateway={"router": {"kind": "plugin", "name": "mine"}}``, or entry points of a distribution (``sim.plugins``).

Inside, data flows one way:

    configs -> cli -> spec.Scenario -> run.simulate -> record.Result -> analysis -> report

A room imports only from rooms below it; a test reads the imports and keeps it so. What this module offers is imported
when it is first asked for, so that ``import sim`` takes milliseconds.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from sim.forms import pure_is_asked, take_the_sources

if TYPE_CHECKING:
    from sim.analysis import price, summarize
    from sim.errors import SimError
    from sim.library.answers import Sizing, capacity, decide, size
    from sim.library.frames import to_frame
    from sim.library.traces import load_trace
    from sim.presets.compose import preset_names, scenario
    from sim.record import Result
    from sim.run import simulate
    from sim.spec import Scenario, Slo
    from sim.workload import Trace

__all__ = [
    "Result", "Scenario", "SimError", "Sizing", "Slo", "Trace", "capacity", "decide", "load_trace", "preset_names", "price",
    "scenario", "simulate", "size", "summarize", "to_frame",
]  # fmt: skip

_HOMES = {
    "price": "analysis", "summarize": "analysis", "SimError": "errors", "Sizing": "library.answers",
    "capacity": "library.answers", "decide": "library.answers", "size": "library.answers", "to_frame": "library.frames",
    "load_trace": "library.traces", "preset_names": "presets.compose", "scenario": "presets.compose", "Result": "record",
    "simulate": "run", "Scenario": "spec", "Slo": "spec", "Trace": "workload",
}  # fmt: skip
"""Name -> the module of the house that holds it."""

if pure_is_asked():
    take_the_sources()


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'sim' has no attribute {name!r}; it offers {', '.join(__all__)}")
    return getattr(importlib.import_module(f"sim.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
