"""What a workload's ``transforms`` do: each keeps the structure it does not name.

Dequantise and stretch move requests in time, scale_context and mix change columns, filter leaves requests out. A
session is treated as a whole by mix and adapters; filter may take turns out of it, which a prefix cache sees as turns sent
elsewhere.
"""

from __future__ import annotations

import functools

import numpy as np

from sim.errors import TraceError
from sim.rng import stream
from sim.spec.workload import Adapters, Dequantise, Filter, Mix, ScaleContext, Stretch
from sim.workload.arrivals import inverse_clock, operational_clock
from sim.workload.columns import tuples
from sim.workload.merge import merged
from sim.workload.scale import copy_of
from sim.workload.ticks import share_on_ticks
from sim.workload.trace import Trace


@functools.singledispatch
def transformed(step: object, trace: Trace, period_s: float, seed: int, place: int) -> tuple[Trace, float]:
    """``trace`` after ``step`` (number ``place`` of its workload) and the period it then stands for."""
    raise TypeError(f"no transform for {type(step).__name__}")


def _with(trace: Trace, **columns: np.ndarray) -> Trace:
    """``trace`` with some columns replaced (labels by their name)."""
    own = {name: columns.pop(name) for name in ("arrival_s", "input_tokens", "output_tokens") if name in columns}
    return Trace(
        own.get("arrival_s", trace.arrival_s), own.get("input_tokens", trace.input_tokens),
        own.get("output_tokens", trace.output_tokens), {**trace.labels, **columns}, trace.block_tokens,
        trace.provenance,
    )  # fmt: skip


@transformed.register
def _dequantise(step: Dequantise, trace: Trace, period_s: float, seed: int, place: int) -> tuple[Trace, float]:
    """Arrivals move by a uniform part of the tick they stand on (to 1 %: clocks jitter); a trace of which less than
    nine tenths stand on ticks has a finer clock and stays."""
    distinct = np.unique(trace.arrival_s)
    tick_s = step.tick_s or (float(np.median(np.diff(distinct))) if len(distinct) > 1 else 0.0)
    if tick_s == 0.0:
        return trace, period_s
    if share_on_ticks(trace.arrival_s, tick_s) < 0.9:
        return trace, period_s
    moved_s = trace.arrival_s + stream(seed, "workload", "transform", place).uniform(0.0, tick_s, len(trace))
    order = np.argsort(moved_s, kind="stable")
    return trace.take(order, moved_s[order]), max(period_s, float(moved_s.max()))


@transformed.register
def _stretch(step: Stretch, trace: Trace, period_s: float, seed: int, place: int) -> tuple[Trace, float]:
    """The trace, over and over in the profile's operational time, each round being other users (as a copy is)."""
    times_s, clock_s = operational_clock(step.duration_s, step.profile, ())
    rounds = int(np.ceil(clock_s[-1] / period_s))
    parts = []
    for number in range(rounds):
        part = copy_of(trace, number, period_s, shift_s=0.0)
        parts.append(_with(part, arrival_s=part.arrival_s + number * period_s))
    whole = merged(parts)
    whole = whole.take(whole.arrival_s < clock_s[-1])
    return _with(whole, arrival_s=inverse_clock(whole.arrival_s, clock_s, times_s)), step.duration_s


@transformed.register
def _scale_context(step: ScaleContext, trace: Trace, period_s: float, seed: int, place: int) -> tuple[Trace, float]:
    """Longer prompts; block hashes grow by blocks of their own, or lose the last, prefixes keep their length."""
    chosen = trace.arrival_s >= step.from_s
    if step.routes and "route" in trace.labels:
        chosen &= np.isin(trace.labels["route"].astype(str), step.routes)
    scaled = np.maximum(np.rint(trace.input_tokens * step.factor), 1)
    if step.max_tokens is not None:
        scaled = np.minimum(scaled, step.max_tokens)
    input_tokens = np.where(chosen, scaled, trace.input_tokens).astype(np.int64)
    columns = {"input_tokens": input_tokens}
    if "prefix_tokens" in trace.labels:
        columns["prefix_tokens"] = np.minimum(trace.labels["prefix_tokens"], input_tokens)
    if "block_hashes" in trace.labels:
        hashes = trace.labels["block_hashes"]
        next_id = 1 + max((max(ids) for ids in hashes if ids), default=-1)
        resized = []
        for ids, tokens in zip(hashes, input_tokens.tolist(), strict=True):
            wanted = -(-tokens // trace.block_tokens) if ids else 0
            fresh = max(wanted - len(ids), 0)
            resized.append((*ids[:wanted], *range(next_id, next_id + fresh)))
            next_id += fresh
        columns["block_hashes"] = tuples(resized)
    return _with(trace, **columns), period_s


def _uniforms(trace: Trace, seed: int, place: int) -> np.ndarray:
    """One uniform number a request, the same for all of a session."""
    uniforms = stream(seed, "workload", "transform", place).random(len(trace))
    sessions = trace.labels.get("session_id")
    if sessions is None:
        return uniforms
    _, first, inverse = np.unique(sessions.astype(str), return_index=True, return_inverse=True)
    return np.where(sessions != "", uniforms[first][inverse], uniforms)


@transformed.register
def _mix(step: Mix, trace: Trace, period_s: float, seed: int, place: int) -> tuple[Trace, float]:
    uniforms = _uniforms(trace, seed, place)
    weights = np.array(list(step.shares.values()))
    names = np.array(list(step.shares), dtype=object)
    column = names[np.searchsorted(np.cumsum(weights) / weights.sum(), uniforms, side="right")]
    return _with(trace, **{step.label: column}), period_s


@transformed.register
def _adapters(step: Adapters, trace: Trace, period_s: float, seed: int, place: int) -> tuple[Trace, float]:
    popularity = np.arange(1, step.count + 1, dtype=float) ** -step.exponent
    weights = np.concatenate([[step.base_share], (1.0 - step.base_share) * popularity / popularity.sum()])
    names = np.array(["", *(f"adapter-{number}" for number in range(1, step.count + 1))], dtype=object)
    drawn = np.searchsorted(np.cumsum(weights)[:-1], _uniforms(trace, seed, place), side="right")
    return _with(trace, lora=names[drawn]), period_s


@transformed.register
def _filter(step: Filter, trace: Trace, period_s: float, seed: int, place: int) -> tuple[Trace, float]:
    keep = (trace.input_tokens >= step.min_input_tokens) & (trace.output_tokens >= step.min_output_tokens)
    if step.max_input_tokens is not None:
        keep &= trace.input_tokens <= step.max_input_tokens
    if step.max_output_tokens is not None:
        keep &= trace.output_tokens <= step.max_output_tokens
    for label, wanted in (("route", step.routes), ("feature", step.features), ("tenant", step.tenants)):
        if wanted:
            column = trace.labels.get(label)
            keep &= False if column is None else np.isin(column.astype(str), wanted)
    if not keep.any():
        raise TraceError(f"workload.transforms[{place}] (filter) keeps none of the {len(trace)} requests")
    return trace.take(keep), period_s
