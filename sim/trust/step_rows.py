"""Recorded engine steps (``steps.jsonl`` or ``.gz`` of a measured case) against the step-time model, step by step.

A row says what a step held (``decodes, decode_context, prefill [[id, new, before]]``) and when: it lasted
``out_s - max(previous out_s, sched_s)``. Decode-only steps behind a decode-only step are compared by their number of
sequences, medians; steps with prefill in windows of four rows, summed, because under asynchronous scheduling part of a
step's time shows in the row before it, by the mean tokens of their steps. Nothing of the scheduler is in it.
"""

from __future__ import annotations

import gzip
import json
from bisect import bisect_left
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np

from sim.errors import TraceError, reading
from sim.perf import StepTimeModel, step_time_model
from sim.trust.cases import MeasuredCase
from sim.trust.validation_table import ErrorRow

_WINDOW = 4
_BINS = (128, 256, 512, 768, 1024, 1536, 2048, 4096, 8192, 16_384)
"""Ends of the bins of tokens a step."""
_FEWEST = 4
"""Steps (or windows) that a kind needs to be compared."""


def step_rows(case: MeasuredCase) -> list[ErrorRow]:
    """One error a kind of step; none where no steps were recorded.

    Raises:
        TraceError: the file is there and cannot be read.
    """
    steps = read_steps(case.folder)
    if not steps:
        return []
    time = step_time_model(case.model, case.gpu, case.engine)
    measured, predicted = durations_s(steps), predicted_s(time, steps)
    rows = []
    for kind, pairs in _kinds(steps, measured, predicted).items():
        if len(pairs) < _FEWEST:
            continue
        truth, guess = (float(np.median([pair[side] for pair in pairs])) for side in (0, 1))
        rows.append(ErrorRow(
            case=case.name, group="steps", model=case.model.name, gpu=case.gpu.name, gpus=case.engine.tensor_parallel_size,
            stage=kind, regime=kind.rpartition(" ")[2], step_time=time.regime, metric="step", statistic="median", unit="ms",
            measured=1e3 * truth, predicted=1e3 * guess,
        ))  # fmt: skip
    return rows


def read_steps(folder: Path) -> list[dict[str, Any]]:
    """The recorded steps in order; none where there is no such file."""
    for name in ("steps.jsonl", "steps.jsonl.gz"):
        path = folder / name
        if path.is_file():
            with reading(path, "a list of recorded steps", TraceError):
                packed = path.read_bytes()
                text = (gzip.decompress(packed) if path.suffix == ".gz" else packed).decode("utf-8")
                return [json.loads(line) for line in text.splitlines() if line.strip()]
    return []


def durations_s(steps: list[dict[str, Any]]) -> np.ndarray:
    """What each step lasted, seconds; NaN for the first."""
    out = np.array([step["out_s"] for step in steps])
    composed = np.array([step["sched_s"] for step in steps])
    return np.concatenate([[np.nan], out[1:] - np.maximum(out[:-1], composed[1:])])


def predicted_s(time: StepTimeModel, steps: list[dict[str, Any]]) -> np.ndarray:
    """What ``time`` says of each step, seconds."""

    def one(step: dict[str, Any]) -> float:
        chunks = [(new, before) for _, new, before in step["prefill"]]
        return float(time.step(chunks, step["decodes"], step["decode_context"]))

    return np.array([one(step) for step in steps])


def _kinds(steps: list[dict[str, Any]], measured: np.ndarray, predicted: np.ndarray) -> dict[str, list[tuple[float, float]]]:
    """Kind of step -> (measured, predicted) seconds of a step, one a step or a window."""
    decodes: dict[int, list[tuple[float, float]]] = defaultdict(list)
    mixed: dict[int, list[tuple[float, float]]] = defaultdict(list)
    for i in range(1, len(steps)):
        if steps[i]["decodes"] and not steps[i]["prefill"] and not steps[i - 1]["prefill"]:
            decodes[1 << max(0, steps[i]["decodes"] - 1).bit_length()].append((measured[i], predicted[i]))
    for first in range(1, len(steps) - _WINDOW + 1, _WINDOW):
        window = range(first, first + _WINDOW)
        held = [i for i in window if steps[i]["prefill"]]
        if held:
            tokens = np.mean([steps[i]["decodes"] + sum(new for _, new, _ in steps[i]["prefill"]) for i in held])
            pair = float(measured[first : first + _WINDOW].sum()), float(predicted[first : first + _WINDOW].sum())
            mixed[bisect_left(_BINS, tokens)].append((pair[0] / _WINDOW, pair[1] / _WINDOW))
    kinds = {f"up to {n} decodes": pairs for n, pairs in sorted(decodes.items())}
    ends = [*(f"{end:,}" for end in _BINS), "more"]
    return kinds | {f"up to {ends[i]} tokens mixed": pairs for i, pairs in sorted(mixed.items())}
