"""``fit_generator``: learns a generator from a trace. What it keeps are quantiles, counts and shares; no request, id or
text of the trace is in the result.

Kept: the rate in at most 400 bins with 25 requests or more each on average; the burstiness inside them (of Gamma
renewal and self-exciting processes the one whose index of dispersion comes nearest at bins of 0.6 to 16 requests); both
length distributions (quantiles, denser in the tail) and the joint law of their ranks (10 x 10); of block hashes the trunk
that nearly all prompts share, what share of a prompt was sent before by length of the prompt, and how long ago
(``sim.workload.fit_prefixes``); of sessions, where no hashes say what was re-sent, turns, think times and messages.
Not kept: drift of lengths, dependence of successive requests, labels, who asked.
"""

from __future__ import annotations

import numpy as np
from scipy.stats import rankdata

from sim.rng import stream
from sim.spec.traffic import (
    EmpiricalCopula,
    EmpiricalLengths,
    EmpiricalSeconds,
    GammaArrivals,
    GeneratorSpec,
    PrefixGroups,
    PrefixTree,
    RateProfile,
    SelfExcitingArrivals,
    SessionSpec,
)
from sim.workload.arrivals import draw_arrivals
from sim.workload.fit_prefixes import fit_prefix_tree
from sim.workload.statistics import count_moments
from sim.workload.trace import Trace

_PROBABILITIES = (
    *np.linspace(0.0, 0.9, 37).round(4).tolist(), 0.91, 0.92, 0.93, 0.94, 0.95, 0.96, 0.97, 0.98, 0.985, 0.99, 0.995,
    0.999, 1.0,
)  # fmt: skip
_COPULA_PARTS = 10
_MAX_BINS = 400
_REQUESTS_A_BIN = 25
_CVS = np.geomspace(0.3, 8.0, 25)
_BRANCHINGS = (0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.85, 0.9)
_DECAY_GAPS = (0.5, 1.5, 3.0, 6.0, 12.0, 25.0)
"""Decay times tried, in mean gaps between requests."""
_SCALE_GAPS = (0.6, 1.6, 3.0, 6.0, 16.0)
"""Bins at which the dispersion of counts is matched, in mean gaps (about the requests in a bin)."""
_ANSWER_S_PER_TOKEN = 0.02


def fit_generator(trace: Trace) -> GeneratorSpec:
    """A generator whose workloads resemble ``trace``."""
    duration_s = trace.duration_s * (1.0 + 1.0 / max(len(trace) - 1, 1)) or 1.0
    follows_up = _follow_ups(trace)
    opening = trace.take(~follows_up) if follows_up is not None else trace
    arrivals, profile = fit_arrivals(opening.arrival_s, duration_s)
    sessions, message = (None, trace.input_tokens) if follows_up is None else _fit_sessions(trace, follows_up)
    hashes = trace.labels.get("block_hashes")
    prefix: PrefixTree | PrefixGroups | None = None
    if hashes is not None:
        prefix = fit_prefix_tree(trace)
    elif "prefix_id" in trace.labels:
        prefix = _fit_groups(trace)
    return GeneratorSpec(
        duration_s=duration_s, arrivals=arrivals, profile=profile, input_tokens=fit_lengths(message),
        output_tokens=fit_lengths(trace.output_tokens), dependence=fit_copula(message, trace.output_tokens),
        max_total_tokens=max(int((trace.input_tokens + trace.output_tokens).max()), 2), sessions=sessions,
        prefix=prefix,
    )  # fmt: skip


def fit_arrivals(
    arrival_s: np.ndarray, duration_s: float
) -> tuple[GammaArrivals | SelfExcitingArrivals, RateProfile]:
    """The process whose counts vary most like the trace's inside its bins, and the rate's course."""
    rate_per_s = len(arrival_s) / duration_s
    bins = int(np.clip(len(arrival_s) / _REQUESTS_A_BIN, 1, _MAX_BINS))
    bin_s = duration_s / bins
    counts = np.bincount(np.minimum((arrival_s / bin_s).astype(np.int64), bins - 1), minlength=bins)
    profile = RateProfile(bin_s=bin_s, multipliers=tuple((counts / counts.mean()).round(4).tolist()))
    candidates: list[GammaArrivals | SelfExcitingArrivals] = [
        GammaArrivals(rate_per_s=rate_per_s, cv=float(cv)) for cv in _CVS
    ]
    candidates += [
        SelfExcitingArrivals(rate_per_s=rate_per_s, branching=branching, decay_s=gaps / rate_per_s)
        for gaps in _DECAY_GAPS
        for branching in _BRANCHINGS
    ]
    scales_s = np.array(_SCALE_GAPS) / rate_per_s
    wanted = _log_dispersion(arrival_s, scales_s)
    misses = []
    for process in candidates:
        drawn = [draw_arrivals(process, duration_s, stream(0, "fit", seed), profile) for seed in range(2)]
        misses.append(sum(((_log_dispersion(times_s, scales_s) - wanted) ** 2).sum() for times_s in drawn))
    return candidates[int(np.argmin(misses))], profile


def _log_dispersion(arrival_s: np.ndarray, scales_s: np.ndarray) -> np.ndarray:
    """Logarithm of the IDC at each scale; 0 (as Poisson) where there is nothing to count."""
    found = np.zeros(len(scales_s))
    for place, scale_s in enumerate(scales_s):
        mean, variance, _ = count_moments(arrival_s, float(scale_s))
        if mean > 0 and variance > 0:
            found[place] = np.log(variance / mean)
    return found


def fit_lengths(tokens: np.ndarray) -> EmpiricalLengths:
    """Quantiles, from the least to the most."""
    values = np.maximum(np.quantile(tokens, _PROBABILITIES), 1.0)
    return EmpiricalLengths(probabilities=_PROBABILITIES, tokens=tuple(np.maximum.accumulate(values).round(2).tolist()))


def fit_copula(inputs: np.ndarray, outputs: np.ndarray) -> EmpiricalCopula:
    """Shares of requests by tenth of input rank and tenth of output rank; ties share their tenths evenly by chance."""
    rng = stream(0, "fit", "ties")
    parts = [
        (rankdata(tokens + rng.uniform(0, 0.5, len(tokens)), method="ordinal") - 1) * _COPULA_PARTS // len(tokens)
        for tokens in (inputs, outputs)
    ]
    mass = np.zeros((_COPULA_PARTS, _COPULA_PARTS))
    np.add.at(mass, tuple(part.astype(np.int64) for part in parts), 1.0)
    return EmpiricalCopula(mass=tuple(tuple(row) for row in (mass / mass.sum()).round(5).tolist()))


def fit_seconds(seconds: np.ndarray) -> EmpiricalSeconds:
    """Quantiles of a time, at least a millisecond."""
    values = np.maximum(np.quantile(seconds, _PROBABILITIES), 1e-3)
    return EmpiricalSeconds(probabilities=_PROBABILITIES, seconds=tuple(np.maximum.accumulate(values).tolist()))


def _follow_ups(trace: Trace) -> np.ndarray | None:
    """Mask of the turns after a session's first; None where sessions say nothing about prompts."""
    sessions = trace.labels.get("session_id")
    if sessions is None or "block_hashes" in trace.labels:
        return None
    _, first = np.unique(sessions.astype(str), return_index=True)
    mask = sessions != ""
    mask[first] = False
    return mask if mask.any() else None


def _fit_sessions(trace: Trace, follows_up: np.ndarray) -> tuple[SessionSpec, np.ndarray]:
    """The session law, and the message length of every request."""
    sessions = trace.labels["session_id"].astype(str)
    # requests without a session are sessions of one turn
    names = np.where(sessions == "", np.char.add("\x00", np.arange(len(trace)).astype(str)), sessions)
    _, place, turns = np.unique(names, return_inverse=True, return_counts=True)
    order = np.lexsort((np.arange(len(trace)), place))
    later, earlier = order[1:], order[:-1]
    same = place[later] == place[earlier]
    later, earlier = later[same], earlier[same]
    message = trace.input_tokens.copy()
    message[later] = np.maximum(
        trace.input_tokens[later] - trace.input_tokens[earlier] - trace.output_tokens[earlier], 1
    )
    gap_s = trace.arrival_s[later] - trace.arrival_s[earlier]
    think_s = np.maximum(gap_s - trace.output_tokens[earlier] * _ANSWER_S_PER_TOKEN, 1e-3)
    spec = SessionSpec(
        turns=fit_lengths(turns), think_s=fit_seconds(think_s), answer_s_per_token=_ANSWER_S_PER_TOKEN
    )  # fmt: skip
    return spec, message


def _fit_groups(trace: Trace) -> PrefixGroups:
    """The twenty most frequent prefixes by their share and length; the rest share nothing."""
    names, place, counts = np.unique(trace.labels["prefix_id"].astype(str), return_inverse=True, return_counts=True)
    tokens = trace.labels.get("prefix_tokens", np.zeros(len(trace), dtype=np.int64))
    named = [group for group in np.argsort(-counts).tolist() if names[group] != ""][:20]
    weights = [float(counts[group]) for group in named]
    lengths = [int(np.median(tokens[place == group])) for group in named]
    return PrefixGroups(weights=(float(len(trace)) - sum(weights), *weights), tokens=(0, *lengths))
