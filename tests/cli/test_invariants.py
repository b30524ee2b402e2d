"""``check_invariants=true``: the laws of the records are asked, and a broken one is our fault (exit code 1)."""

from __future__ import annotations

import sys

import pytest

import sim.run  # noqa: F401
from sim.errors import InvariantError, SimError

SMALL = ("workload.duration_s=10", "fleet.replicas=2", "output.report=false", "check_invariants=true")


def test_a_law_that_holds_says_nothing(servecap) -> None:
    assert servecap(*SMALL).code == 0


def test_a_broken_law_is_a_crash_and_not_a_mistake_of_the_user(servecap, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.modules["sim.run.simulate"], "violations", lambda result: ["tokens_conserved: three are nowhere"])
    ended = servecap(*SMALL)
    assert ended.code == 1
    assert "InvariantError: tokens_conserved: three are nowhere" in ended.err
    assert servecap(*SMALL[:-1]).code == 0  # nobody asked


def test_it_is_none_of_the_errors_that_a_user_can_mend() -> None:
    assert not issubclass(InvariantError, SimError)
