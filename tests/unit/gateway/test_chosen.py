"""Who gets an attempt: a router that ranks servers one by one is asked about all first, and chooses as among the candidates."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from sim.gateway import policies
from sim.workload import Trace
from tests.laws.test_gateway import run


def busy(n: int = 400) -> Trace:
    rng = np.random.default_rng(5)
    labels = {"session_id": np.array([f"s{number % 23}" for number in range(n)], dtype=object)}
    return Trace(np.cumsum(rng.exponential(0.02, n)), rng.integers(50, 3000, n), rng.integers(2, 300, n), labels=labels)


@pytest.mark.parametrize("kind", ["least_requests", "least_tokens_in_flight", "least_kv", "session_affinity"])
@pytest.mark.parametrize("limits", [{"queue": {"max_in_flight": 5}}, {"hedging": {"delay_s": 0.2, "max_hedges": 2}}])
def test_the_choice_is_that_among_the_candidates(
    kind: str, limits: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    walks = {"all": 0, "few": 0}
    among = policies.Policies.candidates

    def counted(side: str) -> Any:
        def candidates(self: Any, *arguments: Any) -> Any:
            walks[side] += 1
            return among(self, *arguments)

        return candidates

    monkeypatch.setattr(policies.Policies, "candidates", counted("few"))
    found = run({"router": {"kind": kind}, **limits}, busy(), replicas=7)
    monkeypatch.setattr(policies, "ranks", lambda router: False)
    monkeypatch.setattr(policies.Policies, "candidates", counted("all"))
    walked = run({"router": {"kind": kind}, **limits}, busy(), replicas=7)
    assert found.requests.equals(walked.requests)
    assert walks["few"] < walks["all"] or (kind == "session_affinity" and "hedging" in limits)  # homes are whom hedges avoid
