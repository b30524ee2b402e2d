"""The response cache: how long an answer lives, who is charged for a hit, who goes first."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from sim.gateway.response_cache import ResponseCache
from sim.record import Result
from sim.spec.gateway.answers import ResponseCache as ResponseCacheSpec
from sim.workload import Trace
from tests.laws.test_gateway import run


def test_an_answer_lives_its_ttl_from_when_it_was_generated() -> None:
    cache = ResponseCache(ResponseCacheSpec(ttl_s=3600.0))
    cache.keep("p", 70, 0.0)
    assert cache.look_up("p", 3599.0) == 70
    assert cache.look_up("p", 3600.0) is None
    cache.keep("p", 80, 4000.0)
    assert cache.look_up("p", 7599.0) == 80


def test_the_least_recently_used_goes_first() -> None:
    cache = ResponseCache(ResponseCacheSpec(max_entries=2))
    cache.keep("a", 1, 0.0)
    cache.keep("b", 2, 1.0)
    cache.look_up("a", 2.0)
    cache.keep("c", 3, 3.0)
    assert [cache.look_up(name, 4.0) for name in "abc"] == [1, None, 3]


def asked_every(gap_s: float, n: int, **gateway: Any) -> Result:
    """One prompt, ``n`` times, every ``gap_s``."""
    labels = {"prompt_id": np.array(["p"] * n, dtype=object), "tenant": np.array(["t"] * n, dtype=object)}
    trace = Trace(np.arange(n) * gap_s, np.full(n, 100), np.full(n, 10), labels)
    return run(gateway, trace, replicas=1)


def test_hits_do_not_keep_an_old_answer_alive() -> None:
    """TTL 3,600 s, asked every 1,000 s: generated at 0 and at 4,000 (the hits at 1,000, 2,000, 3,000 renew nothing)."""
    requests = asked_every(1000.0, 9, cache={"ttl_s": 3600.0}).requests
    generated = requests["arrival_s"][requests["pool"] == "main"]
    assert generated.tolist() == [0.0, 4000.0, 8000.0]


@pytest.mark.parametrize("sharing", [{"cache": {}}, {"dedupe": True}])
def test_an_answer_that_is_shared_is_charged_once(sharing: dict[str, Any]) -> None:
    """100 + 10 tokens at $1 a million are $0.00011 an answer: a budget of $0.0002 pays one, and nothing is left for a third."""
    budget = {"kind": "tenant_budget", "default_usd": 0.0002, "input_usd_per_1m": 1.0, "output_usd_per_1m": 1.0}
    gap_s = 10.0 if "cache" in sharing else 0.0
    shared = asked_every(gap_s, 5, admission=[budget], **sharing).requests
    assert set(shared["outcome"]) == {"completed"}
    alone = asked_every(10.0, 5, admission=[budget]).requests
    assert alone["outcome"].tolist() == ["completed"] * 2 + ["shed"] * 3
