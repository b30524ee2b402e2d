"""The interface between the engine and any step-time model.

A step is described by what the scheduler composed: the prefill chunks as ``(new_tokens, context_tokens)`` pairs, where
context is what was computed before the step (cache hits included), and the decodes in aggregate. Decodes need a closed
form: at a fixed number of sequences the step time is piecewise affine in their total context, so that k steps cost one
sum (``sim.engine.batch``).

Times are in the model's own unit of time: seconds (float) in simulations, integer nanoseconds in conformance runs.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol


class DecodeLine(NamedTuple):
    """``time = intercept + slope * context`` for decode-only steps while ``context <= last_context``."""

    intercept: float
    slope: float
    last_context: float


class Verified(NamedTuple):
    """Requests of one step that verify drafts, together."""

    requests: int
    rows: int
    """Their new tokens, drafts included."""
    context: int
    """Sum of what was computed before the step."""
    uniform: bool
    """The step holds nothing else, and each has all its drafts."""


class StepTimeModel(Protocol):
    """How long one engine step takes."""

    def step(self, prefills: Sequence[tuple[int, int]], n_decode: int, decode_context: int) -> float:
        """Time of a step with these prefill chunks and ``n_decode`` decodes whose contexts (tokens computed before the
        step) sum to ``decode_context``."""
        ...

    def decode_line(self, n_decode: int, decode_context: int) -> DecodeLine:
        """The affine piece that holds at ``decode_context`` for decode-only steps of ``n_decode`` sequences; at any
        context of the piece it equals ``step((), n_decode, context)``."""
        ...


class VerificationTime(Protocol):
    """How long a step of an engine that speculates takes."""

    drafting_s: float
    """Time that the drafts of all steps so far took."""

    def verification(self, prefills: Sequence[tuple[int, int]], verified: Verified | None) -> float:
        """Time of a step with these prefill chunks and ``verified`` beside them (None = nobody)."""
        ...


class AffineStepTime:
    """base + per_new_token x new + per_context_token x context + per_seq x sequences; exact in integers.

    The form in which scheduler recordings state their clock, and the textbook case of tests against theory.
    """

    def __init__(
        self, base: float, per_new_token: float = 0.0, per_context_token: float = 0.0, per_seq: float = 0.0
    ) -> None:
        self.base = base
        self.per_new_token = per_new_token
        self.per_context_token = per_context_token
        self.per_seq = per_seq
        self.drafting_s = 0.0

    def step(self, prefills: Sequence[tuple[int, int]], n_decode: int, decode_context: int) -> float:
        """See ``StepTimeModel``."""
        new = n_decode
        context = decode_context
        for n, before in prefills:
            new += n
            context += before
        seqs = len(prefills) + n_decode
        return self.base + self.per_new_token * new + self.per_context_token * context + self.per_seq * seqs

    def decode_line(self, n_decode: int, decode_context: int) -> DecodeLine:
        """See ``StepTimeModel``; one piece for all contexts."""
        intercept = self.base + (self.per_new_token + self.per_seq) * n_decode
        return DecodeLine(intercept, self.per_context_token, float("inf"))

    def verification(self, prefills: Sequence[tuple[int, int]], verified: Verified | None) -> float:
        """See ``VerificationTime``; drafts are tokens like others."""
        if verified is None:
            return self.step(prefills, 0, 0)
        prompts = self.step(prefills, verified.requests, verified.context)
        return prompts + self.per_new_token * (verified.rows - verified.requests)
