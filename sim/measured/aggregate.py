"""``Aggregate``: the means of one measured run and the load they were measured under.

A report of means holds no request, so it can be neither replayed nor drawn from; it says where one operating point of
a server lies. Checked here, because a mistyped or mutilated report must not become a calibration: means are positive,
no first token comes after the last (TTFT <= E2E), and the requests fit into the run (Little's law: the mean number in
flight is throughput x E2E, which a cap on the requests in flight bounds).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace

from sim.errors import TraceError

MOST_TOKENS = 100_000_000
MOST_LOAD = 100_000.0
_ROUNDING = 1.05
"""Reports round their means and clocks of client and harness differ: laws may be missed by this much."""

_CHUNKS = 1.5
"""A reported TPOT further than this from (E2E - TTFT) / (tokens - 1) counts pieces of the stream, not tokens."""


@dataclass(frozen=True)
class Load:
    """Who sent the requests: a fixed number in flight, arrivals at a rate, or nobody says."""

    in_flight: float | None = None
    """Mean requests in flight of a closed loop; None where the load was open."""
    rate_per_s: float | None = None
    """Arrivals a second of an open load; None where a closed loop sent them."""
    burstiness: float = 1.0
    """Shape of the Gamma gaps between open arrivals; 1 is Poisson."""
    by_littles_law: bool = False
    """``in_flight`` is not stated but throughput x E2E."""
    assumed: bool = False
    """Nobody stated it and nothing gives it: a user who knows it should say so."""
    stated: str = ""
    """Replaces the words below, where the producer's own say more."""

    @property
    def words(self) -> str:
        """The load as a user would say it."""
        if self.stated:
            return self.stated
        if self.rate_per_s is not None:
            return f"open load of {self.rate_per_s:.4g} requests/s"
        if self.in_flight is None:
            return "unknown load"
        how = " (Little's law; the report states no load)" if self.by_littles_law else ""
        return f"closed loop of {self.in_flight:.4g} requests in flight{how}"


@dataclass(frozen=True)
class Aggregate:
    """Means over the answered requests of one run; NaN = not reported."""

    source: str
    """File, and where in it."""
    producer: str
    requests: int
    load: Load
    input_tokens: float
    output_tokens: float
    ttft_s: float = math.nan
    tpot_s: float = math.nan
    """Time per output token without the first."""
    e2e_s: float = math.nan
    duration_s: float = math.nan
    throughput_per_s: float = math.nan
    lengths: tuple[tuple[int, int], ...] = ()
    """(input, output) tokens of each request, where the report tells them."""
    notes: tuple[str, ...] = field(default=())
    """What a user should know: what was left out or guessed."""

    @property
    def words(self) -> str:
        """The point in one line."""
        tokens = f"{self.input_tokens:,.0f} input and {self.output_tokens:,.0f} output tokens"
        known = [
            f"{name} {1e3 * value:,.4g} ms"
            for name, value in (("TTFT", self.ttft_s), ("TPOT", self.tpot_s), ("E2E", self.e2e_s))
            if not math.isnan(value)
        ]
        notes = f" ({'; '.join(self.notes)})" if self.notes else ""
        return f"{self.producer}: {self.requests:,} requests, {self.load.words}; {tokens}; {', '.join(known)}{notes}"


def checked(point: Aggregate) -> Aggregate:
    """``point`` itself, with a load by Little's law where none was stated.

    Raises:
        TraceError: it cannot be true, or tells too little to be an operating point.
    """
    if point.requests < 1:
        raise TraceError(f"{point.source}: {point.producer} answered no request; legal is at least one")
    for name in ("input_tokens", "output_tokens"):
        value = getattr(point, name)
        if math.isnan(value):
            raise TraceError(f"{point.source}: {point.producer} does not say the mean {name} of a request; without lengths "
                             "its times mean nothing")  # fmt: skip
        if not 1 <= value <= MOST_TOKENS:
            raise TraceError(f"{point.source}: mean {name} is {value:.6g}; legal is 1 to {MOST_TOKENS}")
    for name in ("ttft_s", "tpot_s", "e2e_s", "duration_s", "throughput_per_s"):
        value = getattr(point, name)
        if not math.isnan(value) and not 0 < value < 1e7:
            raise TraceError(f"{point.source}: mean {name} is {value:.6g}; legal is a number above 0")
    if math.isnan(point.ttft_s) and math.isnan(point.tpot_s) and math.isnan(point.e2e_s):
        raise TraceError(f"{point.source}: {point.producer} reports none of TTFT, TPOT and E2E; nothing can be fitted to it")
    _check_order(point)
    return _with_load(_with_tpot(point))


def _with_tpot(point: Aggregate) -> Aggregate:
    """TPOT from E2E and TTFT where it is not reported, or where a harness that counts chunks reports another."""
    if not point.output_tokens > 1:
        return point
    tpot_s = (point.e2e_s - point.ttft_s) / (point.output_tokens - 1)
    if math.isnan(point.tpot_s) and tpot_s > 0:
        return replace(point, tpot_s=tpot_s)
    if tpot_s > 0 and not 1 / _CHUNKS < tpot_s / point.tpot_s < _CHUNKS:
        note = f"TPOT from E2E and TTFT: the reported {1e3 * point.tpot_s:.4g} ms does not go with them"
        return replace(point, tpot_s=tpot_s, notes=(*point.notes, note))
    return point


def _check_order(point: Aggregate) -> None:
    if point.ttft_s > _ROUNDING * point.e2e_s:
        raise TraceError(
            f"{point.source}: mean TTFT {point.ttft_s:.6g} s is above mean E2E {point.e2e_s:.6g} s, which cannot be: a "
            "request's first token does not come after its last"
        )
    decode_s = point.tpot_s * (point.output_tokens - 1)
    # means of products are no products of means: only what no correlation explains is refused
    if not math.isnan(point.e2e_s) and decode_s > 10 * point.e2e_s:
        raise TraceError(
            f"{point.source}: mean TPOT {point.tpot_s:.6g} s x {point.output_tokens:.6g} tokens is ten times mean E2E "
            f"{point.e2e_s:.6g} s, which cannot be"
        )
    if point.e2e_s > _ROUNDING * point.duration_s:
        raise TraceError(
            f"{point.source}: mean E2E {point.e2e_s:.6g} s is longer than the whole run ({point.duration_s:.6g} s)"
        )
    paced = point.requests / point.duration_s
    if not math.isnan(paced + point.throughput_per_s) and not 1 / 1.25 < paced / point.throughput_per_s < 1.25:
        raise TraceError(
            f"{point.source}: {point.requests} requests in {point.duration_s:.6g} s are {paced:.6g} a second, but the "
            f"report says {point.throughput_per_s:.6g}"
        )


def _with_load(point: Aggregate) -> Aggregate:
    load = point.load
    for name, value in (("requests in flight", load.in_flight), ("requests a second", load.rate_per_s)):
        if value is not None and not 0 < value <= MOST_LOAD:
            raise TraceError(f"{point.source}: load is {value:.6g} {name}; legal is above 0 and at most {MOST_LOAD:g}")
    served_per_s = point.throughput_per_s if not math.isnan(point.throughput_per_s) else point.requests / point.duration_s
    busy = served_per_s * point.e2e_s
    if load.in_flight is not None and busy > _ROUNDING * load.in_flight + 0.5:
        raise TraceError(
            f"{point.source}: {served_per_s:.6g} requests/s of {point.e2e_s:.6g} s each need {busy:.4g} in flight, but the "
            f"load is a {load.words}"
        )
    if load.in_flight is not None or load.rate_per_s is not None:
        return point
    if math.isnan(busy):
        raise TraceError(
            f"{point.source}: {point.producer} does not say under which load this was measured, and without throughput and "
            "E2E it cannot be computed"
        )
    return replace(point, load=Load(in_flight=max(busy, 1.0), by_littles_law=True))
