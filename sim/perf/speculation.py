"""Step time of an engine that speculates.

    step   = target over all rows + drafts
    target = N(prompt tokens + rows) + prompts' attention + max(D(n, context), pairs x pair) + head and sampler of the rows
    drafts = first pass over all tokens of the step + (K - 1) passes over n tokens, or one pass where they are parallel

A verification has 1 + d rows a request: linear layers see all of them (in a mixture the rows of one request choose partly
the same experts: n requests touch as many as n (1 + d)^``ROW_SPREAD`` tokens of different requests do), the KV is read once
a request whatever its rows, and each row computes its (query, key) pairs; the head and the sampler work for every row (a
row's logits pass through memory four times: written, softmax, compared with the draft's, sampled). Each pass of the draft is
a step of its layers and head over its own KV, and a gap; prompts pass the drafting layers too. A step in which every row has
all its drafts runs a full CUDA graph, one with prompts or shorter rows pays the launches of a mixed step. Memory-bound steps
carry their rows for nothing, compute-bound ones pay for each: it pays while E[tokens] exceeds t(verification) / t(step).

Source: vLLM 0.33 ``v1/worker/gpu_model_runner.py``, ``v1/spec_decode/eagle.py`` (sequential proposals, one launch each).
Leaves out: tree drafts, the host's search for n-grams, rejection sampling beyond its traffic.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from typing import Final

from sim.perf.cuda_graphs import padded_tokens
from sim.perf.step_time import Verified
from sim.perf.tabulated import TabulatedStepTime

LOGIT_PASSES: Final = 4.0
"""Times that a row's logits, in 32 bits, pass through memory."""
ROW_SPREAD: Final = 0.8
"""Set on the measured gains of EAGLE-3.1 with Kimi-K2.6 at 4 and 16 streams (``experiments/speculation``)."""


class Proposing:
    """What a draft costs besides its tables.

    Args:
        passes: of the draft, after each step of the target; 0 = nothing runs on the GPU.
        beside_s: of each pass, to read what joins the target's states to the draft.
        gap_s: before each pass: its launch and the choice of its tokens.
    """

    def __init__(self, passes: int, beside_s: float = 0.0, gap_s: float = 0.0) -> None:
        self.passes = passes
        self.beside_s = beside_s
        self.gap_s = gap_s


class Rows:
    """What a row of a verification costs beside the layers, seconds.

    Args:
        pair_s: a (query, key) pair, all layers, where keys are shared by many rows.
        head_s: the head's product, of one row.
        head_read_s: reading the head, which every step's table holds already.
        sampler_s: the sampler, of one row.
        token_s: the layers' products, of one token more in a large batch of a mixture; 0.0 = no mixture.
    """

    def __init__(self, pair_s: float, head_s: float, head_read_s: float, sampler_s: float, token_s: float) -> None:
        self.pair_s = pair_s
        self.head_s = head_s
        self.head_read_s = head_read_s
        self.sampler_s = sampler_s
        self.token_s = token_s


class SpeculativeStepTime:
    """Times of an engine's steps, seconds.

    Args:
        target: of the model without speculation.
        rows: of a verification's rows.
        proposing: of the drafts.
        draft: of the drafting layers and their head, without a host; None = no layers draft.
    """

    def __init__(self, target: TabulatedStepTime, rows: Rows, proposing: Proposing, draft: TabulatedStepTime | None) -> None:
        self.target = target
        self._rows = rows
        self._proposing = proposing
        self._draft = draft
        self.drafting_s = 0.0
        """Time that the drafts of all steps so far took."""

    def another(self) -> SpeculativeStepTime:
        """The same of another engine, with a count of its own."""
        return SpeculativeStepTime(self.target, self._rows, self._proposing, self._draft)

    def verification(self, prefills: Sequence[tuple[int, int]], verified: Verified | None) -> float:
        """Time of a step with these prefill chunks, ``(tokens, computed before)``, and ``verified`` beside them."""
        target, rows = self.target, self._rows
        tokens, attention = 0, 0.0
        for new, before in prefills:
            tokens += new
            attention += target.with_chunk(0.0, new, before)
        requests = context = 0
        seconds = 0.0
        if verified is not None:
            tokens += verified.rows
            requests, context = verified.requests, verified.context
            attention += verified_s(target, rows, verified)
            seconds += max(0.0, rows.head_s * verified.rows - rows.head_read_s)
            seconds += rows.sampler_s * (verified.rows - requests)
        seqs = len(prefills) + requests
        batches = min(target.stages, seqs)
        seconds += attention / batches
        if rows.token_s and verified is not None:
            seconds += self._mixed_rows(tokens, verified, batches)
        else:
            seconds += target.nonattention(tokens, batches)
        drafting = self._drafting(prefills, tokens, seqs, requests, context)
        self.drafting_s += drafting
        seconds += drafting
        if verified is not None and verified.uniform:
            return target.host.uniform_step(seconds, tokens, seqs)
        return target.host.mixed_step(seconds, tokens, seqs, pipeline_empty=verified is None)

    def _mixed_rows(self, tokens: int, verified: Verified, batches: int) -> float:
        """A mixture's layers on ``tokens``, those of ``verified`` among them: experts touched as by fewer tokens."""
        padded = padded_tokens(-(-tokens // batches), self.target.capture_sizes)
        spread = verified.requests * float((verified.rows / verified.requests) ** ROW_SPREAD)
        apart = padded * (tokens - verified.rows + spread) / tokens
        return self.target.nonattention_at(apart) + self._rows.token_s * (padded - apart)

    def _drafting(
        self, prefills: Sequence[tuple[int, int]], tokens: int, seqs: int, requests: int, context: int
    ) -> float:
        """All passes of the draft after a step of ``tokens`` of ``seqs`` requests, ``requests`` of which decode."""
        draft, proposing = self._draft, self._proposing
        if draft is None or not proposing.passes:
            return 0.0
        reading = decoding_s(draft, requests, context)
        first = draft.nonattention(tokens) + reading
        for new, before in prefills:
            first += draft.with_chunk(0.0, new, before)
        others = draft.nonattention(seqs) + reading
        each = proposing.beside_s + proposing.gap_s
        return first + (proposing.passes - 1) * others + proposing.passes * each


def verified_s(time: TabulatedStepTime, rows: Rows, verified: Verified) -> float:
    """Attention of verifications: their KV is read once, their pairs are all computed."""
    pairs = verified.rows / verified.requests * verified.context
    return max(decoding_s(time, verified.requests, verified.context), rows.pair_s * pairs)


def decoding_s(time: TabulatedStepTime, requests: int, context: int) -> float:
    """Reading the KV of ``requests`` with ``context`` tokens in all."""
    if not requests:
        return 0.0
    breaks, lines = time.attention(requests)
    line = lines[bisect_left(breaks, context)]
    return line.intercept + line.slope * context
