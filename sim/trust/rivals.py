"""Explanations that the measurements do not rule out: what they say of other traffic, and what would decide between them.

Each explanation is a set of multipliers. For a traffic of mean lengths the fluid model of ``sim.perf.steady`` says what one
engine sustains; the least and the most over all explanations is the range that the data allow. The measurement that would
decide is the closed loop, of a menu of streams and lengths, at which the explanations differ most in time per output token:
the fewest streams that show nearly all of it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from sim.perf import step_time_model
from sim.perf.steady import MeanRequest, mean_step_s, steady_engine
from sim.perf.step_time import StepTimeModel
from sim.trust.bench import Bench

_OTHER_LENGTHS = ((100, 200), (1000, 200), (4000, 200))
"""Input and output tokens of the traffics looked at beside the data's own."""
_STREAMS = (1, 4, 16, 64, 256)
_NEARLY = 0.9
TOO_WIDE = 1.15
"""Explanations whose capacities differ by more are said to be different ones."""


@dataclass(frozen=True)
class CapacityRange:
    """Output tokens a second that one engine sustains of one traffic: by the fit, and over all explanations left."""

    input_tokens: int
    output_tokens: int
    own: bool
    """The data's own mean lengths."""
    fitted: float
    low: float
    high: float


@dataclass(frozen=True)
class Deciding:
    """The measurement that would tell the explanations apart."""

    streams: int
    input_tokens: int
    output_tokens: int
    tpot_low_s: float
    tpot_high_s: float

    @property
    def words(self) -> str:
        """In one sentence."""
        return (
            f"{self.streams} at a time, {self.input_tokens:,} tokens in and {self.output_tokens:,} out, would take "
            f"{1e3 * self.tpot_low_s:.3g} to {1e3 * self.tpot_high_s:.3g} ms a token: measure that "
            f"(vllm bench serve --max-concurrency {self.streams} --random-input-len {self.input_tokens} "
            f"--random-output-len {self.output_tokens})"
        )


def capacity_ranges(bench: Bench, fitted: dict[str, float], others: Sequence[dict[str, float]]) -> list[CapacityRange]:
    """What the explanations say that one engine sustains, the data's own lengths first."""
    times = [_time(bench, multipliers) for multipliers in (fitted, *others)]
    found = []
    for lengths in _lengths(bench):
        mean = MeanRequest(*map(float, lengths))
        rates = [_rate(bench, time, mean) * lengths[1] for time in times]
        found.append(CapacityRange(*lengths, lengths == _own(bench), rates[0], min(rates), max(rates)))
    return found


def deciding(bench: Bench, fitted: dict[str, float], others: Sequence[dict[str, float]]) -> Deciding | None:
    """The closed loop that would tell most; None where all say nearly the same of every one."""
    times = [_time(bench, multipliers) for multipliers in (fitted, *others)]
    seats = bench.engine.max_num_active_seqs or bench.engine.max_num_seqs or 1
    choices = []
    for prompt, answer in _lengths(bench):
        for streams in _STREAMS:
            if streams > seats or streams * (prompt + answer) > bench.kv_tokens:
                continue
            each = [mean_step_s(time, streams, MeanRequest(float(prompt), float(answer))) for time in times]
            choices.append(Deciding(streams, prompt, answer, min(each), max(each)))
    spreads = [choice.tpot_high_s / choice.tpot_low_s for choice in choices]
    if not choices or max(spreads) < TOO_WIDE:
        return None
    enough = _NEARLY * math.log(max(spreads))
    return min((c for c, s in zip(choices, spreads, strict=True) if math.log(s) >= enough), key=lambda c: c.streams)


def _time(bench: Bench, multipliers: dict[str, float]) -> StepTimeModel:
    return step_time_model(bench.model, replace(bench.gpu, step_time_scale=dict(multipliers)), bench.engine)


def _rate(bench: Bench, time: StepTimeModel, mean: MeanRequest) -> float:
    seats = bench.engine.max_num_active_seqs or bench.engine.max_num_seqs or 1
    return steady_engine(time, bench.kv_tokens, seats, mean, math.inf).rate_per_s


def _own(bench: Bench) -> tuple[int, int]:
    """Mean lengths of the measured requests, tokens."""
    prompts = sum(int(run.trace.input_tokens.sum()) for run in bench.runs)
    answers = sum(int(run.trace.output_tokens.sum()) for run in bench.runs)
    requests = sum(len(run.trace) for run in bench.runs)
    return max(1, round(prompts / requests)), max(1, round(answers / requests))


def _lengths(bench: Bench) -> list[tuple[int, int]]:
    longest = bench.engine.max_model_len or 0
    own = _own(bench)
    return [own, *(pair for pair in _OTHER_LENGTHS if pair != own and sum(pair) <= longest)]
