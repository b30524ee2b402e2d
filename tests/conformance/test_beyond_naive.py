"""Speculation, adapters and cache groups: the fast engine against a naive restatement, on recordings and random cases."""

from __future__ import annotations

import os
from random import Random
from typing import Any

import pytest

from sim.trust.conformance import Recording, first_difference, read_case
from tests.conformance.naive_features import NaiveFeatures
from tests.conformance.test_recordings import CASES, NAMES
from tests.laws.test_speculation import speculative_case

DEEP = os.environ.get("HYPOTHESIS_PROFILE") == "deep"
MAX_ROWS = 1500


@pytest.mark.parametrize("name", [name for name in NAMES if name[1] in "0ABG"])
def test_the_restatement_gives_the_recorded_rows(name: str) -> None:
    if name in ("s01_plain", "s03_chunked_long", "sG3_pressure_dense") and not DEEP:
        pytest.skip("a long recording; HYPOTHESIS_PROFILE=deep")
    case, recorded = read_case(CASES / name)
    assert first_difference(recorded, NaiveFeatures(case).run(len(recorded) + 1)) is None


def mixed_case(seed: int) -> dict[str, Any]:
    """Drafts, adapters, windows and states together, or some of them."""
    rng, case = Random(seed), speculative_case(seed)
    engine, size = case["engine"], case["engine"]["block_size"]
    for row in case["requests"]:
        if "arrival_step" in row:  # a recording's arrival by step has no time that priority could go by
            row["arrival_ns"] = 500 * row.pop("arrival_step")
    if rng.random() < 0.2:
        del engine["speculative"]
    if rng.random() < 0.45:
        groups: list[dict[str, Any]] = [{"type": "full"}] * rng.choice([0, 1, 1, 2])
        groups += [
            {"type": "sliding", "window": rng.choice([size + 1, 2 * size, 7, 13, 40])} for _ in range(rng.randint(1, 2))
        ]
        if not engine["enable_prefix_caching"] and rng.random() < 0.4:
            groups.append({"type": "mamba", "block_size": 500})
        rng.shuffle(groups)
        engine["kv_groups"] = groups
        engine["prefix_cache_retention_interval"] = rng.choice([0, None, 4 * size])
        engine["num_gpu_blocks"] = 1 + (engine["num_gpu_blocks"] - 1) * len(groups)
    return case


@pytest.mark.parametrize("batch", range(60 if DEEP else 4))
def test_row_for_row(batch: int) -> None:
    for seed in range(batch * 80, batch * 80 + 80):
        case = mixed_case(seed)
        if not case["requests"]:
            continue
        naive = NaiveFeatures(case)
        theirs = naive.run(MAX_ROWS)
        if len(theirs) == MAX_ROWS:
            continue
        ours = Recording(case)
        assert first_difference(theirs, ours.run(MAX_ROWS)) is None, (seed, case["engine"])
        assert naive.stalled == ours.stalled
