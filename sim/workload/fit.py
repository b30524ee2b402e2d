"""``fit_generator``: learns a generator from a trace. What it keeps are quantiles, counts and shares; no request, id or
text of the trace is in the result.

Kept: the rate in at most 400 bins with 25 requests or more each on average; the burstiness inside them (of Gamma
renewal and self-exciting processes the one whose index of dispersion comes nearest at bins of 0.6 to 16 requests, of
arrivals that a coarse clock does not bunch); both length distributions (quantiles, denser in the tail), the joint law of
their ranks (10 x 10), and their drift over time (``fit_drift``); of block hashes the trunk that nearly all prompts share,
what share of a prompt was sent before by length of the prompt, how long ago, and how much in all (``fit_prefixes``); of
sessions turns, think times, and messages or, with block hashes, how whole prompts follow each other and what each keeps
of the ones before it (``fit_sessions``). Not kept: drift of lengths in traces with sessions, dependence of successive
requests of different sessions, labels, who asked.
"""

from __future__ import annotations

import numpy as np

from sim.rng import stream
from sim.spec.arrivals import GammaArrivals, RateProfile, SelfExcitingArrivals
from sim.spec.traffic import GeneratorSpec, PrefixGroups, PrefixTree
from sim.workload.arrivals import draw_arrivals
from sim.workload.fit_drift import fit_drift
from sim.workload.fit_lengths import fit_copula, fit_lengths
from sim.workload.fit_prefixes import fit_prefix_tree, with_reuse
from sim.workload.fit_sessions import fit_sessions, follow_ups, opens_until_s
from sim.workload.statistics import count_moments
from sim.workload.ticks import coarse_tick_s
from sim.workload.trace import Trace

_MAX_BINS = 400
_REQUESTS_A_BIN = 25
_CVS = np.geomspace(0.3, 8.0, 25)
_BRANCHINGS = (0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.85, 0.9)
_DECAY_GAPS = (0.5, 1.5, 3.0, 6.0, 12.0, 25.0)
"""Decay times tried, in mean gaps between requests."""
_SCALE_GAPS = (0.6, 1.6, 3.0, 6.0, 16.0)
"""Bins at which the dispersion of counts is matched, in mean gaps (about the requests in a bin)."""


def fit_generator(trace: Trace) -> GeneratorSpec:
    """A generator whose workloads resemble ``trace``."""
    duration_s = trace.duration_s * (1.0 + 1.0 / max(len(trace) - 1, 1)) or 1.0
    follows_up = follow_ups(trace)
    hashed = "block_hashes" in trace.labels
    opening_s = _without_ticks(trace.arrival_s if follows_up is None else trace.arrival_s[~follows_up])
    sessions, inputs, opens_s = None, trace.input_tokens, None
    if follows_up is not None:
        opens_s = opens_until_s(opening_s, duration_s)
        sessions, inputs = fit_sessions(trace, whole_prompts=hashed, finish=opens_s is not None)
    arrivals, profile = fit_arrivals(opening_s, opens_s or duration_s)
    # a session's prompts grow with its turns, which is no drift of lengths over time
    drift = fit_drift(trace.arrival_s, inputs, trace.output_tokens, duration_s) if sessions is None else None
    prefix = fit_prefix_tree(trace) if hashed else _fit_groups(trace) if "prefix_id" in trace.labels else None
    spec = GeneratorSpec(
        duration_s=opens_s or duration_s, arrivals=arrivals, profile=profile, drift=drift, input_tokens=fit_lengths(inputs),
        output_tokens=fit_lengths(trace.output_tokens), dependence=fit_copula(inputs, trace.output_tokens),
        max_total_tokens=max(int((trace.input_tokens + trace.output_tokens).max()), 2), sessions=sessions,
        prefix=prefix,
    )  # fmt: skip
    return with_reuse(spec, trace) if isinstance(prefix, PrefixTree) else spec


def _without_ticks(arrival_s: np.ndarray) -> np.ndarray:
    """Arrivals of a clock that ticks coarsely, spread over its tick: its bursts are not the traffic's."""
    tick_s = coarse_tick_s(arrival_s)
    if tick_s is None:
        return arrival_s
    return np.sort(arrival_s + stream(0, "fit", "ticks").uniform(0.0, tick_s, len(arrival_s)))


def fit_arrivals(arrival_s: np.ndarray, duration_s: float) -> tuple[GammaArrivals | SelfExcitingArrivals, RateProfile]:
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


def _fit_groups(trace: Trace) -> PrefixGroups:
    """The twenty most frequent prefixes by their share and length; the rest share nothing."""
    names, place, counts = np.unique(trace.labels["prefix_id"].astype(str), return_inverse=True, return_counts=True)
    tokens = trace.labels.get("prefix_tokens", np.zeros(len(trace), dtype=np.int64))
    named = [group for group in np.argsort(-counts).tolist() if names[group] != ""][:20]
    weights = [float(counts[group]) for group in named]
    lengths = [int(np.median(tokens[place == group])) for group in named]
    return PrefixGroups(weights=(float(len(trace)) - sum(weights), *weights), tokens=(0, *lengths))
