"""What ``traces stats`` warns of: each caution where it applies, and none where nothing is to be said."""

from __future__ import annotations

import numpy as np
import pytest

from sim.workload import Trace, trace_statistics
from sim.workload.cautions import cautions


def trace(arrival_s: np.ndarray, inputs: int = 500, outputs: int = 100, **labels: np.ndarray) -> Trace:
    n = len(arrival_s)
    return Trace(np.sort(arrival_s), np.full(n, inputs), np.full(n, outputs), labels)


RNG = np.random.default_rng(0)
POISSON = RNG.uniform(0, 8000, 4000)
SESSIONS = np.array(["a"] * 4000, dtype=object)


def told(one: Trace) -> str:
    return "\n".join(cautions(one, trace_statistics(one)))


def test_nothing_where_all_is_well() -> None:
    assert told(trace(POISSON, session_id=SESSIONS)) == ""


@pytest.mark.parametrize(
    ("one", "words"),
    [
        (trace(POISSON[:200]), "200 requests are few"),
        (trace(POISSON / 10), "13 minutes hold no hour of the day"),
        (trace(np.round(RNG.uniform(0, 4000, 8000))), "a clock of 1 s"),
        (trace(np.repeat(RNG.uniform(0, 8000, 400), 10) + RNG.uniform(0, 0.05, 4000)), "come in bursts"),
        (trace(np.concatenate([POISSON[:3999] / 2, [8000.0]])), "nothing arrives for"),
        (trace(POISSON, outputs=1), "100% of the answers are one token"),
        (trace(POISSON, inputs=200_000), "more than 131,072 tokens"),
        (trace(POISSON), "prefix caches will hit nothing"),
    ],
)
def test_each_caution(one: Trace, words: str) -> None:
    assert words in told(one)
