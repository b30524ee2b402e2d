"""No key without description, unit, legal range and source; none whose description only repeats its name."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from sim.spec.keys import OWN_CHOICE, Key, all_keys
from sim.spec.scenario import Scenario

KEYS = all_keys(Scenario)
ANY_NUMBER = {"gateway.admission.N.protected_priority"}
"""Priorities are whole numbers, those below zero too: there is no bound to state."""
LEFT_TO_SOURCE = 58
"""Defaults that add something and whose description says no source; a ratchet: it only falls."""
_FILLER = {
    "a",
    "an",
    "the",
    "of",
    "in",
    "per",
    "is",
    "it",
    "what",
    "how",
    "many",
    "number",
    "value",
    "which",
    "s",
    "seconds",
}


def faults(key: Key) -> list[str]:
    """What a key lacks."""
    found = []
    if not key.description:
        found.append("no description")
    elif repeats_name(key):
        found.append(f"the description only repeats the name: {key.description}")
    elif len(re.findall(r"[a-zA-Z]+", re.sub(r"``.*?``", "", key.description))) < 2:
        found.append(f"the description says too little: {key.description}")
    if not key.unit:
        found.append("no unit")
    if not key.source or not key.legal:
        found.append("no source or no legal values")
    if re.search(r"any (whole )?number", key.legal) and key.key not in ANY_NUMBER:
        found.append(f"no legal range: {key.legal}")
    return found


def repeats_name(key: Key) -> bool:
    """All words of the description are words of the key's name."""
    name = set(re.findall(r"[a-z0-9]+", key.key.lower().replace("_", " ")))
    said = {word for word in re.findall(r"[a-z0-9]+", key.description.lower()) if word not in _FILLER}
    return said <= name | {f"{word}s" for word in name} | {word.rstrip("s") for word in name}


def test_every_key_has_description_unit_range_and_source() -> None:
    assert len(KEYS) > 650
    lacking = {f"{key.key} {key.kinds or ''} ({key.declared})": found for key in KEYS if (found := faults(key))}
    assert lacking == {}


def test_the_test_finds_what_it_is_for() -> None:
    whole = next(key for key in KEYS if key.key == "gateway.queue.max_requests")
    assert faults(whole) == []
    for broken in (
        replace(whole, description=""), replace(whole, description="The max requests of the gateway's queue."),
        replace(whole, description="``JITTER``, seconds."), replace(whole, unit=""), replace(whole, legal="any whole number | null"), replace(whole, source=""),
    ):  # fmt: skip
        assert len(faults(broken)) == 1, broken


def test_fewer_and_fewer_defaults_are_without_a_source() -> None:
    unsaid = {(key.key, key.declared) for key in KEYS if key.source == OWN_CHOICE}
    assert len(unsaid) <= LEFT_TO_SOURCE, sorted(unsaid)


@pytest.mark.parametrize(("key", "unit"), [
    ("gateway.retries.base_s", "s"), ("gpu.memory_gib", "GiB"), ("cost.storage_usd_per_gib_month", "US$/GiB/month"),
    ("fleet.failures.gpu_mtbf_h", "h"), ("workload.generator.arrivals.rate_per_s", "1/s"), ("gpu.tdp_w", "W"),
    ("slo.max_failed_fraction", "share"), ("engine.max_num_batched_tokens", "tokens"), ("engine.victim", "choice"),
    ("workload.rate_scale", "ratio"), ("gpu.tflops_bf16", "TFLOP/s"), ("gateway.apis.NAME.input_usd_per_1m", "US$ per 1M tokens"),
])  # fmt: skip
def test_units_follow_from_names(key: str, unit: str) -> None:
    assert {one.unit for one in KEYS if one.key == key} == {unit}
