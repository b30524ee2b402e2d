"""The hybrid rule by hand: who leaves, and that a larger chance only adds to those who leave."""

from __future__ import annotations

from typing import Any

import pytest

from sim.gateway.hybrid import HybridRule
from sim.gateway.request import ClientRequest
from sim.spec.gateway.answers import Hybrid

UNIFORMS = [(row + 0.5) / 100 for row in range(100)]


def leaving(**spec: Any) -> set[int]:
    rule = HybridRule(Hybrid(**spec), UNIFORMS)
    return {row for row in range(100) if rule.leaves_before(ClientRequest(row, 0.0, 1000), 0)}


@pytest.mark.parametrize(
    ("spec", "share"),
    [
        ({"uncertain_fraction": 0.3}, 30),
        ({"uncertain_fraction": 0.1, "uncertain_per_1k_tokens": 0.2}, 30),  # 1,000 prompt tokens
        ({"uncertain_fraction": 0.4, "monthly_improvement": 0.5, "month": 2}, 10),  # 0.4 x 0.5^2
        ({"uncertain_fraction": 0.9, "uncertain_per_1k_tokens": 0.9}, 100),
        ({"uncertain_fraction": 0.3, "judged": "after"}, 0),
        ({"local_max_input_tokens": 999}, 100),
        ({"local_max_input_tokens": 1000}, 0),
        ({"api_first": True}, 100),
    ],
)
def test_how_many_of_a_hundred_leave(spec: dict[str, Any], share: int) -> None:
    assert len(leaving(**spec)) == share


def test_a_larger_chance_only_adds() -> None:
    assert leaving(uncertain_fraction=0.2) < leaving(uncertain_fraction=0.5)


def test_overload_sends_away_from_so_many_waiting_on() -> None:
    rule = HybridRule(Hybrid(overload_waiting=3), UNIFORMS)
    assert [rule.leaves_before(ClientRequest(0, 0.0, 10), waiting) for waiting in (2, 3)] == [False, True]


def test_a_change_holds_from_its_time_to_its_end() -> None:
    rule = HybridRule(
        Hybrid(uncertain_fraction=0.4, escalation_changes=[{"at_s": 10, "until_s": 20, "factor": 0.5}]), UNIFORMS
    )
    counts = [sum(rule.uncertain(ClientRequest(row, at_s, 10)) for row in range(100)) for at_s in (9.9, 10.0, 19.9, 20.0)]
    assert counts == [40, 20, 20, 40]
