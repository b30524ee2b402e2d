"""The sentence on prompts that were handed over."""

from __future__ import annotations

from types import SimpleNamespace
from typing import cast

import pytest

from sim.analysis.handovers import handover_sentences, handover_words
from sim.cli.compose import composed_scenario
from sim.record import Result


@pytest.mark.parametrize(
    ("after_s", "way_s", "words"),
    [
        (0.0744, 0.0321, "p95 74.4 ms after the prefill (32.1 ms of it on the way)"),
        (40.603, 0.798, "p95 40.6 s after the prefill (798 ms of it on the way)"),
        (2460.0, 1.0, "p95 2,460.0 s after the prefill (1.0 s of it on the way)"),
    ],
)
def test_long_waits_are_said_in_seconds(after_s: float, way_s: float, words: str) -> None:
    counts = dict.fromkeys(("handed_over", "not_handed_over", "kept_whole", "without_prefill", "leases_ended"), 0)
    found = {**counts, "bytes": 0.0, "handover_s": {"p95": after_s}, "transfer_s": {"p95": way_s}}
    assert words in handover_words(found)


def test_windows_that_travel_whole_are_said() -> None:
    def said(*overrides: str) -> list[str]:
        scenario = composed_scenario(["fleet=disaggregated", "engine.max_model_len=16384", *overrides])
        return handover_sentences(cast(Result, SimpleNamespace(scenario=scenario)))

    (sentence,) = said("model=deepseek_v4_flash", "gpu=b200", "engine.tensor_parallel_size=4")
    assert "every token of deepseek_v4_flash whole; of tokens that have left its windows 13% would do" in sentence
    assert not said("model=llama3_8b")
