"""What to be careful about in a trace before believing what is computed of it: one sentence each, with the next step."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from sim.workload.ticks import coarse_tick_s
from sim.workload.trace import Trace, left_out_sentences

_FEW = 1000
"""Fewer requests leave ten or less beyond a p99."""
_SHORT_S = 3600.0
_LONG_TOKENS = 131_072
"""What most served models take at most."""
_SILENCE = 0.2
_ONE_TOKEN = 0.05
_BURSTY = 3.0
"""Index of dispersion at one second above which Poisson arrivals are no stand-in; Poisson's is 1."""


def cautions(trace: Trace, figures: Mapping[str, Any]) -> list[str]:
    """Sentences about ``trace``, whose statistics are ``figures``; none where there is nothing to say. What its reading has
    said already (``left_out_sentences``) is not said again."""
    return list(_of(trace, figures))


def _of(trace: Trace, figures: Mapping[str, Any]) -> Iterator[str]:
    requests, duration_s = len(trace), trace.duration_s
    if requests < _FEW:
        yield f"{requests:,} requests are few: a p99 rests on {requests / 100:.0f} of them"
    if duration_s < _SHORT_S:
        yield f"{duration_s / 60:,.0f} minutes hold no hour of the day: the busiest hour may be several times as busy"
    tick_s = coarse_tick_s(trace.arrival_s)
    if tick_s is not None and not any("stand on a clock" in one for one in left_out_sentences(trace.left_out())):
        yield f"arrivals stand on a clock of {tick_s:g} s: bursts below are not real; --dequantise {tick_s:g} spreads them"
    dispersion = figures.get("idc_1s", np.nan)
    if dispersion > _BURSTY and tick_s is None:
        yield f"arrivals come in bursts: their variance a second is {dispersion:.1f} times a Poisson process's"
    gap_s = float(np.max(np.diff(trace.arrival_s))) if requests > 1 else 0.0
    if duration_s > 0 and gap_s > _SILENCE * duration_s:
        yield f"nothing arrives for {gap_s:,.0f} s of {duration_s:,.0f} s; --start-s and --duration-s cut what is no night"
    single = float(np.mean(trace.output_tokens <= 1))
    if single > _ONE_TOKEN:
        yield f"{single:.0%} of the answers are one token: they have no TPOT; are cut-off or failed calls among them?"
    long = int(np.sum(trace.input_tokens + trace.output_tokens > _LONG_TOKENS))
    if long:
        yield f"{long:,} requests need more than {_LONG_TOKENS:,} tokens of context: most models refuse them"
    if not {"prefix_id", "block_hashes", "session_id", "prompt_id"} & set(trace.labels):
        yield "no column names shared text (prefix_id, block_hashes, session_id, prompt_id): prefix caches will hit nothing"
