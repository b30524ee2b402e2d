"""Random scenarios over all groups with every law watched: no alarm, no crash, none endless, most run to an answer.

Two hundred in CI; ``HYPOTHESIS_PROFILE=deep`` runs two thousand."""

from __future__ import annotations

import pytest
from hypothesis import settings

from tests.laws.random_scenarios import Ended, played

SEEDS = range(200) if settings.default is settings.get_profile("ci") else range(2000)


@pytest.fixture(scope="module")
def ended() -> list[Ended]:
    return [played(seed) for seed in SEEDS]


def test_no_law_is_broken_and_nothing_crashes(ended: list[Ended]) -> None:
    """A seed that is named here is a defect: ``python -m tests.laws.random_scenarios SEED 1`` shows it."""
    assert [each for each in ended if each.status in ("alarm", "crash")] == []


def test_none_takes_longer_than_it_may(ended: list[Ended]) -> None:
    assert [(each.seed, each.cpu_s) for each in ended if each.status == "slow"] == []


def test_most_run_to_an_answer(ended: list[Ended]) -> None:
    assert sum(each.status == "answer" for each in ended) >= 0.75 * len(ended)
    assert sum(each.requests for each in ended) >= 30 * len(ended)
