"""What one engine sustains in the steady state, in closed form: a fluid model of continuous batching.

With mean prompt ``I`` and mean answer ``O`` tokens, a batch of ``B`` sequences finishes ``B / O`` requests a step and
admits as many prompts, so that a step takes

    t(B) = decode(B, B (I + O/2)) + (B / O) (beside(I) - decode(1, 0))         seconds
    rate = (B / O) / t(B)                                                      requests a second

``beside(I)`` is a step of one prompt beside one decode: a step without decodes would wait for its own launches. ``B`` is
the largest batch within the cap, the KV pool and the TPOT target. A request of ``i`` and ``o`` tokens then takes
``o decode / B + i prefill / I`` seconds of a replica, which is 1 / rate for the mean one.

Searches start from it, the perfect fleet is sized by it, and an autoscaler's default target follows from it; no verdict
rests on it. All derate it to ``POOLED``: p95 of the waiting time is spent before the engine is full (read off the default
sweep). Leaves out prefix hits, burstiness and the spread of lengths.
"""

from __future__ import annotations

from typing import NamedTuple

from sim.perf.step_time import StepTimeModel

POOLED = 0.8


class MeanRequest(NamedTuple):
    """Mean lengths of a traffic's requests, in tokens; at least 1 each."""

    prompt: float
    answer: float
    computed: float = 1.0
    """Part of the prompt that the engine computes itself: 0 where another one does."""


class SteadyReplica(NamedTuple):
    """One replica at its largest batch: seconds of a replica for a token of an answer, and for a token of a prompt."""

    batch: int
    rate_per_s: float
    s_per_output_token: float
    s_per_input_token: float

    def of_ranks(self, ranks: int) -> SteadyReplica:
        """A replica of ``ranks`` such engines, which carry the same."""
        return SteadyReplica(
            self.batch * ranks, self.rate_per_s * ranks, self.s_per_output_token / ranks, self.s_per_input_token / ranks
        )


def steady_engine(
    steps: StepTimeModel, kv_tokens: int, max_num_seqs: int, mean: MeanRequest, tpot_limit_s: float
) -> SteadyReplica:
    """An engine with ``kv_tokens`` of KV cache that is held to ``tpot_limit_s`` (inf = no limit)."""
    cap = min(max_num_seqs, max(1, int(kv_tokens / (mean.prompt + mean.answer / 2))))
    low, high = 1, cap  # a bigger batch is a slower step
    while low < high:
        middle = (low + high + 1) // 2
        if mean_step_s(steps, middle, mean) <= tpot_limit_s:
            low = middle
        else:
            high = middle - 1
    decode_s, prefill_s = _decode_s(steps, low, mean), _prefill_s(steps, mean)
    return SteadyReplica(low, _rate_per_s(steps, low, mean), decode_s / low, prefill_s / mean.prompt)


def pooled_tokens(
    steps: StepTimeModel, kv_tokens: int, max_num_seqs: int, mean: MeanRequest, tpot_limit_s: float
) -> float:
    """Tokens in flight in an engine that is given ``POOLED`` of the rate it sustains: contexts of the running batch."""
    most = steady_engine(steps, kv_tokens, max_num_seqs, mean, tpot_limit_s)
    low, high = 1, most.batch
    while low < high:
        middle = (low + high) // 2
        if _rate_per_s(steps, middle, mean) < POOLED * most.rate_per_s:
            low = middle + 1
        else:
            high = middle
    return low * (mean.prompt + mean.answer / 2)


def prefill_tokens_per_s(steps: StepTimeModel, mean: MeanRequest) -> float:
    """Prompt tokens a second of an engine that computes one prompt after the other, and nothing else."""
    return mean.prompt / steps.step([(round(mean.prompt), 0)], 0, 0)


def _rate_per_s(steps: StepTimeModel, batch: int, mean: MeanRequest) -> float:
    return (batch / mean.answer) / mean_step_s(steps, batch, mean)


def mean_step_s(steps: StepTimeModel, batch: int, mean: MeanRequest) -> float:
    """Seconds of the mean step at ``batch`` sequences: the time per output token."""
    return _decode_s(steps, batch, mean) + batch / mean.answer * mean.computed * _prefill_s(steps, mean)


def _prefill_s(steps: StepTimeModel, mean: MeanRequest) -> float:
    return max(steps.step([(round(mean.prompt), 0)], 1, 0) - steps.step((), 1, 0), 0.0)


def _decode_s(steps: StepTimeModel, batch: int, mean: MeanRequest) -> float:
    return steps.step((), batch, round(batch * (mean.prompt + mean.answer / 2)))
