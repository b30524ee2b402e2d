"""Deciders of disaggregation, by hand against their sources' own cases."""

from __future__ import annotations

import pytest
from pydantic import TypeAdapter, ValidationError

from sim.gateway.deciders import Pair, make_decider
from sim.spec.gateway.disaggregation import Disaggregation

SPEC = TypeAdapter(Disaggregation)


def remote(kind: str, prompt: int, cached: int = 0, prefill: float = 0.0, decode: float = 0.0, **options: float) -> bool:
    decider = make_decider(SPEC.validate_python({"kind": kind, **options}))
    return decider is None or decider.remote(Pair(prompt, cached, prefill, decode))


def test_always_is_always() -> None:
    assert remote("always", 1)
    assert remote("always", 100, 99, prefill=1e9)


@pytest.mark.parametrize(
    ("prompt", "cached", "options", "expected"),
    [
        (10_000, 0, {}, False),  # nonCachedTokens 0, the default, is off
        (512, 0, {"non_cached_tokens": 512}, True),
        (511, 0, {"non_cached_tokens": 512}, False),
        (1024, 512, {"non_cached_tokens": 512}, True),
        (1024, 528, {"non_cached_tokens": 512}, False),
        (600, 0, {"non_cached_tokens": 512, "prompt_tokens": 1000}, False),
        (1000, 0, {"non_cached_tokens": 512, "prompt_tokens": 1000}, True),
    ],
)
def test_llm_ds_prefix_decider(prompt: int, cached: int, options: dict[str, float], expected: bool) -> None:
    assert remote("prefix", prompt, cached, **options) is expected


@pytest.mark.parametrize(
    ("prompt", "cached", "options", "expected"),
    [  # the cases of Dynamo's own tests in conditional_disagg.rs: bypass there = not remote here
        (1000, 14 * 64, {}, False),
        (100_000, 1000 * 64, {"ratio_threshold": 0.99}, True),
        (200, 0, {}, True),
        (2048, 0, {"ratio_threshold": 0.99}, True),
        (500, 10 * 64, {}, False),  # more cached than the prompt has
        (2100, 48, {"ratio_threshold": 0.99}, True),
        (1000, 301, {}, False),  # 699 / 1000 < 0.7
        (1000, 300, {}, True),  # 700 / 1000 is not
    ],
)
def test_dynamos_isl_bounding(prompt: int, cached: int, options: dict[str, float], expected: bool) -> None:
    assert remote("effective_length", prompt, cached, **options) is expected


def test_dynamos_decode_guard_sends_away_what_would_stay() -> None:
    assert not remote("effective_length", 1000, 900, decode=0.9, decode_busy_threshold=0.9)
    assert remote("effective_length", 1000, 900, decode=0.91, decode_busy_threshold=0.9)


def test_dynamos_prefill_load_looks_at_the_prefill_replica_alone() -> None:
    assert not remote("load", 100_000, prefill=4.1, prefill_busy_threshold=4)
    assert remote("load", 100_000, prefill=4.0, prefill_busy_threshold=4)
    assert remote("load", 10, 9, prefill=0.0, prefill_busy_threshold=4)
    assert remote("load", 10, prefill=9, decode=2, prefill_busy_threshold=4, decode_busy_threshold=1)


@pytest.mark.parametrize(("prompt", "cached", "load", "expected"), [
    (1000, 14 * 64, 0.0, False), (1000, 14 * 64, 9.0, False), (100_000, 0, 0.0, True), (100_000, 0, 9.0, False),
])  # fmt: skip
def test_dynamos_isl_or_load(prompt: int, cached: int, load: float, expected: bool) -> None:
    found = remote("load", prompt, cached, prefill=load, prefill_busy_threshold=1, threshold_tokens=2048)
    assert found is expected


@pytest.mark.parametrize("stated", [
    {"kind": "never"}, {"kind": "prefix", "non_cached_tokens": -1}, {"kind": "effective_length", "ratio_threshold": 1.1},
    {"kind": "load"}, {"kind": "always", "hop_s": -1}, {"kind": "always", "protocol": "carrier_pigeon"},
])  # fmt: skip
def test_bad_input_is_refused(stated: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        SPEC.validate_python(stated)
