"""``load_workload``: the one way from a ``WorkloadSpec`` to the ``Trace`` that a simulation replays."""

from __future__ import annotations

import importlib.resources
from dataclasses import replace
from pathlib import Path

import numpy as np

from sim.errors import TraceError
from sim.spec import WorkloadSpec
from sim.spec.workload import Dequantise
from sim.workload.fetch import cached
from sim.workload.generate import generate
from sim.workload.read import files_to_read, read_trace, reading_options
from sim.workload.scale import rate_scaled, windowed
from sim.workload.ticks import coarse_tick_s
from sim.workload.trace import Trace
from sim.workload.transform import transformed


def load_workload(spec: WorkloadSpec, seed: int) -> Trace:
    """The requests that ``spec`` describes: source, window, ticks, transforms, rate scale, limit, in this order.

    ``seed`` decides what is drawn (generators, thinning, mixes); a plain replay does not depend on it.

    Raises:
        TraceError: the source cannot be read, or nothing is left of it.
    """
    trace, period_s = _unscaled(spec, seed)
    trace = rate_scaled(trace, scale_of(spec, trace, period_s), period_s, seed, spec.rate_mode)
    return trace if spec.limit is None else trace.take(np.arange(min(spec.limit, len(trace))))


def load_as_scale(spec: WorkloadSpec, seed: int) -> WorkloadSpec:
    """``spec`` with the load that it states (``rate_per_s``, ``tokens_per_day``) as ``rate_scale``, which searches vary.

    Raises:
        TraceError: as ``load_workload``.
    """
    if spec.rate_per_s is None and spec.tokens_per_day is None:
        return spec
    return replace(spec, rate_scale=scale_of(spec, *_unscaled(spec, seed)), rate_per_s=None, tokens_per_day=None)


def scale_of(spec: WorkloadSpec, trace: Trace, period_s: float) -> float:
    """What ``trace``, which stands for ``period_s``, is to be scaled by: rate_per_s / (requests / period_s), or
    tokens_per_day / (tokens / period_s x 86,400 s)."""
    if spec.rate_per_s is not None:
        return spec.rate_per_s * period_s / len(trace)
    if spec.tokens_per_day is not None:
        tokens = float(trace.input_tokens.sum() + trace.output_tokens.sum())
        return spec.tokens_per_day / 86_400.0 * period_s / tokens
    return spec.rate_scale


def _unscaled(spec: WorkloadSpec, seed: int) -> tuple[Trace, float]:
    """The trace before its rate is scaled, and the period it stands for."""
    trace, period_s = windowed(_source(spec, seed), spec.start_s, spec.duration_s)
    trace, period_s = _without_ticks(spec, trace, period_s, seed)
    for place, step in enumerate(spec.transforms):
        trace, period_s = transformed(step, trace, period_s, seed, place)
    return trace, period_s


def _without_ticks(spec: WorkloadSpec, trace: Trace, period_s: float, seed: int) -> tuple[Trace, float]:
    """The trace spread over its clock's tick where that is asked for; where it is not, a coarse clock is said."""
    if spec.generator is not None and not trace.provenance:
        return trace, period_s
    if spec.dequantise_s is not None:
        spread, period_s = transformed(Dequantise(tick_s=spec.dequantise_s), trace, period_s, seed, len(spec.transforms))
        if spread is trace:
            asked = f"workload.dequantise_s={spec.dequantise_s:g}"
            spread = trace.noting(f"{asked} changed nothing: the arrivals are on no such tick")
        return spread, period_s
    tick_s = coarse_tick_s(trace.arrival_s)
    if tick_s is None or any(isinstance(step, Dequantise) for step in spec.transforms):
        return trace, period_s
    together = len(trace) / len(np.unique(trace.arrival_s))
    return trace.noting(
        f"arrivals stand on a clock of {tick_s:g} s, {together:.3g} at once: bursts below that are not real; "
        f"workload.dequantise_s={tick_s:g} spreads them"
    ), period_s


def _source(spec: WorkloadSpec, seed: int) -> Trace:
    until_s = np.inf if spec.duration_s is None else spec.start_s + spec.duration_s
    options = reading_options(spec)
    as_recorded = spec.rate_scale == 1.0 and spec.rate_per_s is None and spec.tokens_per_day is None
    if not spec.transforms and as_recorded and spec.start_s == 0.0 and spec.dequantise_s is None:
        options["enough"] = spec.limit
    path = source_of(spec)
    if spec.path is None and spec.packaged is not None:
        return read_trace(path or "", block_tokens=spec.block_tokens)
    if path is not None:
        return read_trace(path, spec.format, until_s=until_s, seed=seed, **options)
    if spec.generator is not None:
        return generate(spec.generator, seed)
    raise TraceError(
        f"workload={spec.name} needs its trace file: workload.path=FILE, or `servecap traces fetch {spec.fetch}` once"
    )


def input_files(spec: WorkloadSpec) -> list[Path]:
    """The files that reading ``spec``'s trace opens, in the order of reading; none of them is read.

    Raises:
        TraceError: it is not there, or of no format.
    """
    source = source_of(spec)
    if source is None:
        return []
    files = files_to_read(source, spec.format if spec.path is not None else "auto", mapped=bool(spec.columns))
    inside = [sorted(path.iterdir()) if path.is_dir() else [path] for path in files]
    return [path for paths in inside for path in paths if path.is_file()]


def source_of(spec: WorkloadSpec) -> str | None:
    """Where the trace of ``spec`` lies (see ``sim.workload.places``); None: it is generated, or not fetched yet.

    Raises:
        TraceError: a packaged trace that does not ship.
    """
    if spec.path is not None:
        return spec.path
    if spec.packaged is not None:
        file = Path(str(importlib.resources.files("sim.traces"))) / spec.packaged
        if not file.is_file():
            raise TraceError(f"workload.packaged is {spec.packaged!r}, which does not ship with servecap")
        return str(file)
    found = None if spec.generator is not None else cached(spec.fetch or "")
    return None if found is None else str(found)
