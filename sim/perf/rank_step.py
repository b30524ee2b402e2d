"""Step time of ranks that step together: a mixture's data-parallel attention over shared experts.

    GPU time = largest attention of a rank + N(tokens of the fullest rank) + E(tokens of all ranks) + A(both)

``N`` is everything but attention and routed experts (``sim.perf.tabulated`` over ``without_experts``), ``E`` the experts
(``sim.perf.mixture``), ``A`` the all-to-all of every layer (``sim.perf.all_to_all``). Where the fullest rank's tokens fit a
CUDA graph, every rank is padded to it and carries as many; larger steps run eager and unpadded. A rank with nothing to do
runs one token. The host's part is that of the rank with most sequences; one chunk of a prompt anywhere takes all ranks out
of the full graph (vLLM 0.33, ``v1/worker/dp_utils.py``).

With dual batch overlap, where every rank has tokens enough, two halves take

    max(attention + 2 N(T/2) + 2 E(S/2) + held x 2 A(T/2, S/2), 2 A(T/2, S/2))

where the all-to-all holds a share of the processors meanwhile; the first and last layer's edges are left out.

As a ``StepTimeModel`` it answers for ranks that all carry the same.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from math import inf
from typing import Final, NamedTuple

from sim.perf.all_to_all import AllToAll
from sim.perf.cuda_graphs import padded_tokens
from sim.perf.host import HostOverhead
from sim.perf.step_time import AffineStepTime, DecodeLine, Verified
from sim.perf.tabulated import Regime, TabulatedStepTime, interpolate

_MOST_KEPT: Final = 4096
"""Answers that are remembered at once."""


class RankLoad(NamedTuple):
    """What the ranks of a group carry in one step; a rank with nothing counts one token."""

    most_tokens: int
    """Of the fullest rank."""
    least_tokens: int
    all_tokens: int
    most_seqs: int
    """Sequences of the rank that has most."""
    prefill: bool
    """Some rank has a chunk of more than one token of a prompt: one is a row like a decode's."""
    different: float = 1.0
    """Tokens of different requests that choose as many experts as all do, over all."""


class ExpertTimes(NamedTuple):
    """Routed experts and all-to-all of a group of ranks."""

    tokens: tuple[int, ...]
    """Of all ranks together."""
    experts_s: tuple[float, ...]
    layers: int
    """Layers that carry tokens to experts and back."""
    way: AllToAll
    """What one such layer costs."""
    tensor_parallel: int
    gpus: int
    imbalance: float

    def carried_s(self, most: float, everybody: float) -> float:
        """All-to-all of all layers when the fullest rank has ``most`` tokens and all ranks have ``everybody``."""
        return self.layers * self.way.layer_s(most / self.tensor_parallel, everybody, self.gpus, self.imbalance)


class StepParts(NamedTuple):
    """What a decode step of ranks that carry the same is made of, seconds; nothing hidden."""

    attention_s: float
    rest_s: float
    """Everything but attention and routed experts."""
    experts_s: float
    all_to_all_s: float
    step_s: float
    """With the host's part, and with what dual batch overlap hides."""


class Halving(NamedTuple):
    """When a step is cut into two halves."""

    decode_tokens: int
    prefill_tokens: int


class RankStepTime:
    """Step time of ``ranks`` engines over ``own``, the step time of one without its routed experts."""

    def __init__(self, own: TabulatedStepTime, experts: ExpertTimes, ranks: int, halving: Halving | None) -> None:
        self.own = own
        self.experts = experts
        self.ranks = ranks
        self.halving = halving
        self.host: HostOverhead = own.host
        self.tables = own.tables
        self.regime: Regime = own.regime
        self.source: str = own.source
        last, before = experts.experts_s[-1], experts.experts_s[-2]
        self._expert_token_s = (last - before) / (experts.tokens[-1] - experts.tokens[-2])
        """Routed experts of one token more in a large batch."""
        self._apart: dict[tuple[float, float, bool, float], tuple[float, float]] = {}
        self._lines: dict[tuple[int, int, float, float], tuple[list[float], list[DecodeLine]]] = {}

    # -- of one rank ---------------------------------------------------------------------------------------------------

    def attention_s(self, prefills: Sequence[tuple[int, int]], n_decode: int, decode_context: int) -> float:
        """Attention of a rank with these chunks and decodes, seconds."""
        own, seconds = self.own, 0.0
        for new, before in prefills:
            seconds = own.with_chunk(seconds, new, before)
        if n_decode:
            breaks, lines = own.attention(n_decode)
            line = lines[bisect_left(breaks, decode_context)]
            seconds += line.intercept + line.slope * decode_context
        return seconds

    # -- of a round ----------------------------------------------------------------------------------------------------

    def round_s(self, attention_s: float, load: RankLoad) -> float:
        """A step with a chunk of a prompt somewhere, whose largest attention is ``attention_s``."""
        computed, carried = self.parts_s(load)
        gpu_s = max(attention_s + computed, carried)
        return self.host.mixed_step(gpu_s, load.most_tokens, load.most_seqs, pipeline_empty=False)

    def round_lines(self, rows: Sequence[tuple[int, int]], load: RankLoad) -> list[DecodeLine]:
        """The time of a step of rows of one token, were each of ``rows``, a rank's (rows, tokens before them), the one with
        most attention: the largest is the step's."""
        computed, carried = self.parts_s(load)
        lines = []
        for n, context in rows:
            key = (n, load.most_seqs, computed, carried)
            pieces = self._lines.get(key)
            if pieces is None:
                if len(self._lines) > _MOST_KEPT:
                    self._lines.clear()
                raised = _raised(*self.own.attention(n), carried - computed)
                pieces = self._lines[key] = self.host.decode_lines(*raised, computed, load.most_seqs)
            lines.append(pieces[1][bisect_left(pieces[0], context)])
        return lines

    def parts_s(self, load: RankLoad) -> tuple[float, float]:
        """Seconds of what is computed beside attention, all-to-all included where nothing hides it, and the least time that
        an all-to-all beside the computation leaves (-inf: there is none)."""
        sizes = self.own.capture_sizes
        most, everybody = float(padded_tokens(load.most_tokens, sizes)), float(load.all_tokens)
        if sizes and load.most_tokens <= sizes[-1]:
            everybody = most * self.ranks
        halved = False
        if self.halving is not None:
            halved = load.least_tokens >= (self.halving.prefill_tokens if load.prefill else self.halving.decode_tokens)
        key = (most, everybody, halved, load.different)
        parts = self._apart.get(key)
        if parts is None:
            if len(self._apart) > _MOST_KEPT:
                self._apart.clear()
            parts = self._apart[key] = self._computed(most, everybody, halved, load.different)
        return parts

    def _computed(self, most: float, everybody: float, halved: bool, different: float) -> tuple[float, float]:
        if halved:
            computed = 2.0 * (self.own.nonattention_at(most / 2.0) + self.experts_s(everybody / 2.0, different))
            carried = 2.0 * self.experts.carried_s(most / 2.0, everybody / 2.0)
            return computed + self.experts.way.held_share * carried, carried
        computed = self.own.nonattention_at(most) + self.experts_s(everybody, different)
        return computed + self.experts.carried_s(most, everybody), -inf

    def experts_s(self, tokens: float, different: float = 1.0) -> float:
        """Routed experts of all layers for ``tokens`` tokens of all ranks, seconds; see ``RankLoad.different``."""
        apart = tokens * different
        seconds = interpolate(self.experts.tokens, self.experts.experts_s, apart)
        return seconds if different == 1.0 else seconds + self._expert_token_s * (tokens - apart)

    # -- where all ranks carry the same --------------------------------------------------------------------------------

    def step(self, prefills: Sequence[tuple[int, int]], n_decode: int, decode_context: int) -> float:
        """See ``StepTimeModel``; seconds."""
        load = self._alike(prefills, n_decode)
        if not prefills:
            line = self.round_lines([(n_decode, decode_context)], load)[0]
            return line.intercept + line.slope * decode_context
        return self.round_s(self.attention_s(prefills, n_decode, decode_context), load)

    def decode_line(self, n_decode: int, decode_context: int) -> DecodeLine:
        """See ``StepTimeModel``."""
        return self.round_lines([(n_decode, decode_context)], self._alike((), n_decode))[0]

    def parts(self, n_decode: int, decode_context: int) -> StepParts:
        """A decode step of ``n_decode`` sequences on every rank, taken apart."""
        most = float(padded_tokens(n_decode, self.own.capture_sizes))
        return StepParts(
            self.attention_s((), n_decode, decode_context), self.own.nonattention_at(most),
            self.experts_s(most * self.ranks), self.experts.carried_s(most, most * self.ranks),
            self.step((), n_decode, decode_context),
        )  # fmt: skip

    def _alike(self, prefills: Sequence[tuple[int, int]], n_decode: int) -> RankLoad:
        tokens = n_decode
        for new, _ in prefills:
            tokens += new
        tokens = max(tokens, 1)
        return RankLoad(tokens, tokens, tokens * self.ranks, n_decode + len(prefills), bool(prefills))


class AffineRankStepTime:
    """base + per_new x tokens of the fullest rank + per_context x largest context + per_seq x most sequences: the clock of
    recordings. Exact in whole numbers."""

    def __init__(self, affine: AffineStepTime) -> None:
        self._affine = affine

    def attention_s(self, prefills: Sequence[tuple[int, int]], n_decode: int, decode_context: int) -> float:
        """See ``RankStepTime``."""
        context = decode_context
        for _, before in prefills:
            context += before
        return self._affine.per_context_token * context

    def round_s(self, attention_s: float, load: RankLoad) -> float:
        """See ``RankStepTime``."""
        affine = self._affine
        return affine.base + affine.per_new_token * load.most_tokens + attention_s + affine.per_seq * load.most_seqs

    def verifying_s(self, carried: Sequence[tuple[Sequence[tuple[int, int]], Verified | None]]) -> float:
        """See ``RankVerification``; drafts are tokens like others."""
        affine, most, context, seqs = self._affine, 1, 0, 0
        for chunks, verified in carried:
            tokens = computed = 0
            for new, before in chunks:
                tokens, computed = tokens + new, computed + before
            requests = len(chunks)
            if verified is not None:
                tokens, computed = tokens + verified.rows, computed + verified.context
                requests += verified.requests
            most, context, seqs = max(most, tokens), max(context, computed), max(seqs, requests)
        return affine.base + affine.per_new_token * most + affine.per_context_token * context + affine.per_seq * seqs

    def round_lines(self, rows: Sequence[tuple[int, int]], load: RankLoad) -> list[DecodeLine]:
        """See ``RankStepTime``."""
        affine = self._affine
        intercept = affine.base + affine.per_new_token * load.most_tokens + affine.per_seq * load.most_seqs
        return [DecodeLine(intercept, affine.per_context_token if n else 0.0, inf) for n, _ in rows]


def _raised(breaks: list[float], lines: list[DecodeLine], least: float) -> tuple[list[float], list[DecodeLine]]:
    """The pieces of a rising function, nowhere below ``least``."""
    if least <= 0.0:
        return breaks, lines
    out: list[DecodeLine] = []
    start = 0.0
    for line in lines:
        end = line.last_context
        crossing = (least - line.intercept) / line.slope if line.slope > 0 else (inf if line.intercept < least else -inf)
        if crossing >= end:
            out.append(DecodeLine(least, 0.0, end))
        else:
            if crossing > start:
                out.append(DecodeLine(least, 0.0, crossing))
            out.append(line)
        start = end
    return [line.last_context for line in out[:-1]], out
