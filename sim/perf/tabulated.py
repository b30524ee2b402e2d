"""Step time from small tables, in closed form for decode runs: the hot path of every simulation.

    GPU time of a step = N(T) + sum over prefill chunks C(s, p) + D(n, context)

- ``N``: everything but attention, of ``T`` new tokens padded to the CUDA-graph capture size; piecewise linear in T.
- ``C``: attention of a chunk of ``s`` tokens behind ``p``: ``pair(s)`` seconds for each of its ``s (p + (s+1)/2)``
  (query, key) pairs; layers with a sliding window count theirs apart.
- ``D``: attention of ``n`` decodes, piecewise linear in their mean context, so piecewise affine in the total.

The host's part (``sim.perf.host``) joins it: hidden behind the GPU when scheduling is asynchronous, added when not.
With pipeline stages the step is cut into ``m = min(stages, sequences)`` equal micro-batches that follow one another:
each term is taken at a share ``1/m`` of the tokens, which is right for throughput and for the latency of a lone
request.

Leaves out: differences of context within a batch (attention is charged at the mean, and a share for unevenness), what the
step before leaves to hide behind, noise from step to step.
Tables come from ``sim.perf.table`` (fitted to measured kernels) and ``sim.perf.roofline`` (derived from geometry).
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import inf
from typing import Literal

from sim.perf.cuda_graphs import padded_tokens
from sim.perf.host import HostOverhead
from sim.perf.step_time import DecodeLine

MOST_LINK = 0.9
"""Of a measured time, the most that is taken to be communication."""
_REMEMBERED = 65_536
"""Below so many tokens a value is remembered."""
Regime = Literal["interpolated", "extrapolated", "uncalibrated"]


@dataclass(frozen=True)
class StepTables:
    """GPU times of one (GPU, model, parallelism, dtype), seconds."""

    tokens: tuple[int, ...]
    nonattention_s: tuple[float, ...]
    decode_seqs: tuple[int, ...]
    decode_context_tokens: tuple[int, ...]
    """Mean context per sequence at which ``decode_attention_s`` is given; below the first it falls linearly to 0."""
    decode_attention_s: tuple[tuple[float, ...], ...]
    """One row a number of sequences, non-decreasing in context."""
    prefill_tokens: tuple[int, ...]
    prefill_pair_s: tuple[float, ...]
    """Seconds per (query, key) pair, all layers without a window."""
    window_tokens: int = 0
    prefill_window_pair_s: tuple[float, ...] = ()


def scaled(tables: StepTables, scale: Mapping[str, float], links_s: Sequence[float] = ()) -> StepTables:
    """``tables`` with their shares multiplied by what ``scale`` says of ``compute``, ``memory`` and ``link``.

    Args:
        tables: seconds.
        scale: multipliers, 1 where one is not named.
        links_s: of each of ``tables.tokens``, the part that is communication; none = nothing is.
    """
    compute, memory, link = (scale.get(name, 1.0) for name in ("compute", "memory", "link"))
    if compute == memory == link == 1.0:
        return tables
    pairs = zip(links_s or [0.0] * len(tables.tokens), tables.nonattention_s, strict=True)
    carried = [min(part, MOST_LINK * t) for part, t in pairs]
    own = [t - part for t, part in zip(tables.nonattention_s, carried, strict=True)]
    return replace(
        tables,
        nonattention_s=tuple(
            memory * min(own[0], t) + compute * max(t - own[0], 0.0) + link * part  # nothing that is scaled is below zero
            for t, part in zip(own, carried, strict=True)
        ),
        decode_attention_s=tuple(tuple(memory * t for t in row) for row in tables.decode_attention_s),
        prefill_pair_s=tuple(compute * t for t in tables.prefill_pair_s),
        prefill_window_pair_s=tuple(compute * t for t in tables.prefill_window_pair_s),
    )


class TabulatedStepTime:
    """A ``StepTimeModel`` over ``StepTables``; times in seconds."""

    def __init__(
        self,
        tables: StepTables,
        host: HostOverhead,
        *,
        capture_sizes: tuple[int, ...] = (),
        stages: int = 1,
        regime: Regime = "interpolated",
        source: str = "",
    ) -> None:
        self.tables = tables
        self.host = host
        self.capture_sizes = capture_sizes
        self.stages = stages
        self.regime: Regime = regime
        self.source = source
        self._decode_pieces: dict[int, tuple[list[float], list[DecodeLine]]] = {}
        self._attention_pieces: dict[int, tuple[list[float], list[DecodeLine]]] = {}
        self._nonattention = [Memo() for _ in range(stages)]
        """By micro-batches, one fewer."""
        self._pair, self._window_pair = Memo(), Memo()
        self._window_tokens = tables.window_tokens

    def step(self, prefills: Sequence[tuple[int, int]], n_decode: int, decode_context: int) -> float:
        """See ``StepTimeModel``; seconds."""
        if not prefills:
            line = self.decode_line(n_decode, decode_context)
            return line.intercept + line.slope * decode_context
        tokens = n_decode
        attention = 0.0
        for new, before in prefills:
            tokens += new
            attention = self.with_chunk(attention, new, before)
        seqs = n_decode + len(prefills)
        batches = min(self.stages, seqs)
        if batches > 1:
            attention /= batches
        gpu = attention + self.nonattention(tokens, batches)
        if n_decode:
            breaks, lines = self.attention(n_decode)
            line = lines[bisect_left(breaks, decode_context)]
            gpu += line.intercept + line.slope * decode_context
        return self.host.mixed_step(gpu, tokens, seqs, pipeline_empty=not n_decode)

    def decode_line(self, n_decode: int, decode_context: int) -> DecodeLine:
        """See ``StepTimeModel``; seconds and seconds per token of total context."""
        pieces = self._decode_pieces.get(n_decode)
        if pieces is None:
            pieces = self._decode_pieces[n_decode] = self._build_decode(n_decode)
        return pieces[1][bisect_left(pieces[0], decode_context)]

    def nonattention(self, tokens: int, batches: int = 1) -> float:
        """``N`` of ``tokens`` new tokens in ``batches`` equal micro-batches, seconds."""
        memo = self._nonattention[batches - 1]
        value = memo.at(tokens)
        if value < 0.0:
            each = padded_tokens(-(-tokens // batches), self.capture_sizes)
            value = memo.keep(tokens, interpolate(self.tables.tokens, self.tables.nonattention_s, each))
        return value

    def nonattention_at(self, tokens: float) -> float:
        """``N`` of ``tokens`` new tokens, padded already, seconds."""
        return interpolate(self.tables.tokens, self.tables.nonattention_s, tokens)

    def attention(self, n: int) -> tuple[list[float], list[DecodeLine]]:
        """Pieces of D in the total context of ``n`` sequences: right ends (all but the last) and lines."""
        pieces = self._attention_pieces.get(n)
        if pieces is None:
            pieces = self._attention_pieces[n] = self._build_attention(n)
        return pieces

    def _build_decode(self, n: int) -> tuple[list[float], list[DecodeLine]]:
        nonattention = self.nonattention(n, min(self.stages, n)) if n else 0.0
        breaks, lines = self.attention(n)
        return self.host.decode_lines(breaks, lines, nonattention, n)

    def _build_attention(self, n: int) -> tuple[list[float], list[DecodeLine]]:
        if n == 0:
            return [], [DecodeLine(0.0, 0.0, inf)]
        tables = self.tables
        each = n / min(self.stages, n)
        row = _row_at(tables.decode_seqs, tables.decode_attention_s, each)
        contexts = [0.0, *(float(c) for c in tables.decode_context_tokens)]
        times = [0.0, *row]
        breaks: list[float] = []
        lines: list[DecodeLine] = []
        for i in range(len(contexts) - 1):
            slope_per_seq = (times[i + 1] - times[i]) / (contexts[i + 1] - contexts[i])
            intercept = times[i] - slope_per_seq * contexts[i]
            end = contexts[i + 1] * n if i + 2 < len(contexts) else inf
            lines.append(DecodeLine(intercept, slope_per_seq / n, end))
            if end < inf:
                breaks.append(end)
        return breaks, lines

    def with_chunk(self, attention_s: float, new: int, before: int) -> float:
        """``attention_s`` and the attention of a chunk of ``new`` tokens behind ``before``, seconds."""
        attention_s += self._pair_s(new) * new * (before + 0.5 * (new + 1))
        if self._window_tokens:
            attention_s += self._window_pair_s(new) * window_pairs(new, before, self._window_tokens)
        return attention_s

    def _pair_s(self, new: int) -> float:
        """A (query, key) pair in a chunk of ``new`` tokens, layers without a window."""
        value = self._pair.at(new)
        if value < 0.0:
            tables = self.tables
            value = self._pair.keep(new, interpolate(tables.prefill_tokens, tables.prefill_pair_s, new, extrapolate=False))
        return value

    def _window_pair_s(self, new: int) -> float:
        """The same of the layers with a window, where the model has some."""
        value = self._window_pair.at(new)
        if value < 0.0:
            tables = self.tables
            found = interpolate(tables.prefill_tokens, tables.prefill_window_pair_s, new, extrapolate=False)
            value = self._window_pair.keep(new, found)
        return value


class Memo:
    """A function of whole numbers, seconds, as far as it was asked for: in a list, since a dictionary of some thousand
    numbers costs a step more than the rest of its time."""

    __slots__ = ("_known",)

    def __init__(self) -> None:
        self._known: list[float] = []

    def at(self, n: int) -> float:
        """Its value at ``n``; below 0 = not known."""
        return self._known[n] if n < len(self._known) else -1.0

    def keep(self, n: int, value: float) -> float:
        """Remember ``value``, and return it."""
        known = self._known
        if n < _REMEMBERED:
            missing = n + 1 - len(known)
            if missing > 0:
                known.extend([-1.0] * missing)
            known[n] = value
        return value


def window_pairs(new: int, before: int, window: int) -> float:
    """(query, key) pairs of ``new`` tokens behind ``before`` when each sees at most ``window`` keys with itself."""
    growing = min(max(window - before, 0), new)
    return growing * (before + 0.5 * (growing + 1)) + (new - growing) * float(window)


def interpolate(knots: tuple[int, ...], values: tuple[float, ...], at: float, *, extrapolate: bool = True) -> float:
    """Piecewise linear; beyond the last knot the last slope goes on (or the last value, if not ``extrapolate``)."""
    if at <= knots[0]:
        return values[0]
    if at >= knots[-1] and not extrapolate:
        return values[-1]
    i = min(bisect_left(knots, at), len(knots) - 1)
    share = (at - knots[i - 1]) / (knots[i] - knots[i - 1])
    return values[i - 1] + (values[i] - values[i - 1]) * share


def _row_at(seqs: tuple[int, ...], rows: tuple[tuple[float, ...], ...], n: float) -> tuple[float, ...]:
    """Decode attention at ``n`` sequences: linear between rows, proportional to ``n`` beyond the last."""
    if n >= seqs[-1]:
        return tuple(value * n / seqs[-1] for value in rows[-1])
    if n <= seqs[0]:
        return rows[0]
    i = bisect_left(seqs, n)
    share = (n - seqs[i - 1]) / (seqs[i] - seqs[i - 1])
    return tuple(a + (b - a) * share for a, b in zip(rows[i - 1], rows[i], strict=True))
