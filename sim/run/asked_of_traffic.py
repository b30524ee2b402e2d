"""What a scenario asks about its traffic must be in the traffic: a slip there would be answered with nothing at all."""

from __future__ import annotations

from collections.abc import Iterator

from sim.errors import ConfigError
from sim.spec import EngineSpec, Scenario
from sim.spec.timeline import Deploy
from sim.workload import Trace
from sim.workload.timeline import load_trace


def check_asked_of_traffic(scenario: Scenario, trace: Trace | None = None) -> None:
    """Compare ``workload.warmup_s``, ``slo.routes`` and ``slo.tenants`` with ``trace`` (default: the scenario's own, read
    only if asked).

    Raises:
        ConfigError: the warm-up outlasts the arrivals, or an SLO is asked of a route or tenant that no request has.
    """
    timed = scenario.gateway.users.kind == "open"  # else requests are sent when answers allow, not when the trace says
    warmup_s = scenario.workload.warmup_s if timed else 0.0
    if warmup_s <= 0 and not scenario.slo.labelled():
        return
    trace = load_trace(scenario) if trace is None else trace
    last_s = float(trace.arrival_s[-1])
    if warmup_s > last_s:
        raise ConfigError(f"workload.warmup_s: {warmup_s:g} leaves no request to measure; the last arrives at {last_s:g} s")
    for label, values in scenario.slo.labelled().items():
        named = {str(value) for value in trace.labels[label]} if label in trace.labels else set()
        for value in values:
            if value not in named:
                there = ", ".join(sorted(named - {""})) or "none"
                raise ConfigError(
                    f"slo.{label}s.{value}: no request has this {label}; the trace's {label}s are: {there}"
                )


def check_features(scenario: Scenario, trace: Trace) -> None:
    """Compare the LoRA adapters that ``trace`` asks for, and the routes whose drafts are accepted otherwise, with the
    engines.

    Raises:
        ConfigError: a pool that serves has, or gets by a deploy, no slot for any adapter; acceptance is stated of a route
            that no request has.
    """
    asked = sorted({str(name) for name in trace.labels.get("lora", ())} - {""})
    routes = {str(value) for value in trace.labels["route"]} if "route" in trace.labels else set()
    passes = {spec.pool for stage in ("before", "after") for spec in scenario.gateway.passes_of(stage)}
    for key, pool, engine in _engines(scenario):
        if asked and not engine.max_loras and pool not in passes:
            raise ConfigError(
                f"{key}.max_loras: requests ask for {len(asked)} LoRA adapters ({', '.join(asked[:3])}"
                f"{', ...' if len(asked) > 3 else ''}), but pool {pool} has no slot for any; set it to 1 or more"
            )
        for route in engine.speculative.acceptance.routes:
            if route not in routes:
                raise ConfigError(
                    f"{key}.speculative.acceptance.routes.{route}: no request has this route; the trace's routes are: "
                    f"{', '.join(sorted(routes - {''})) or 'none'}"
                )


def with_vain_acceptance_said(scenario: Scenario, trace: Trace) -> Trace:
    """``trace``, its notes saying how many requests state which drafts are accepted where no engine makes any."""
    if "accept" not in trace.labels or any(engine.speculative.drafts for _, _, engine in _engines(scenario)):
        return trace
    stated = sum(1 for accept in trace.labels["accept"] if accept)
    if not stated:
        return trace
    return trace.noting(f"accepted drafts are stated of {stated:,} requests, without effect: no engine speculates")


def _engines(scenario: Scenario) -> Iterator[tuple[str, str, EngineSpec]]:
    """The engines that pools begin with or get by a deploy: key, pool, engine."""
    for name, pool in scenario.fleet.all_pools().items():
        yield "engine" if pool.engine is None else f"fleet.pools.{name}.engine", name, pool.engine or scenario.engine
    for place, change in enumerate(scenario.timeline):
        if isinstance(change, Deploy) and change.engine is not None:
            yield f"timeline.{place}.engine", change.pool, change.engine
