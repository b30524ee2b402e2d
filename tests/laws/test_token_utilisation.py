"""Token utilisation is a share: what was delivered over what the fleet sustains within its SLO."""

from __future__ import annotations

import pytest

from sim.cli.compose import composed_scenario
from sim.search import solve


@pytest.mark.parametrize("cap", [8, 64])
def test_it_is_never_above_one_for_a_fleet_that_holds(cap: int) -> None:
    """Replicas share bursts, so that a fleet carries more than each of its replicas alone."""
    asked = ["workload.limit=1500", "workload.rate_scale=1.5", "search.max_replicas=12", f"engine.max_num_seqs={cap}"]
    answer = solve(composed_scenario(asked), "replicas")
    assert answer.feasible
    assert 0 < answer.summary["utilisation"]["token"] <= 1
