"""The way between clients and pools or zones: twice in every TTFT, and in the laws of tokens and time."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from sim.analysis.laws import violations
from sim.errors import ConfigError
from sim.record import Result
from sim.workload import Trace
from tests.laws.test_gateway import run, trace_of

LONELY = Trace(np.arange(4) * 60.0, np.full(4, 200), np.full(4, 20))
"""So far apart that nobody waits for anybody."""


def played(one_way_s: dict[str, float], trace: Trace = LONELY, **more: Any) -> Result:
    gateway = {"router": {"kind": "round_robin"}, "network_one_way_s": one_way_s, **more.pop("gateway", {})}
    result = run(gateway, trace, **more)
    assert violations(result) == []
    return result


@pytest.mark.parametrize("policies", [{}, {"retries": {"kind": "backoff"}}], ids=["plain", "process"])
def test_there_and_back_is_in_every_ttft_and_e2e_and_in_no_tpot(policies: dict[str, Any]) -> None:
    near, far = (played({"main": way}, replicas=1, gateway=policies).requests for way in (0.0, 0.08))
    assert (far["ttft_s"] - near["ttft_s"]).to_numpy() == pytest.approx(0.16)
    assert (far["e2e_s"] - near["e2e_s"]).to_numpy() == pytest.approx(0.16)
    assert far["tpot_s"].to_numpy() == pytest.approx(near["tpot_s"].to_numpy())
    assert (far["queue_s"] - near["queue_s"]).to_numpy() == pytest.approx(0.08)


def test_a_pool_s_own_number_goes_before_its_zone_s() -> None:
    pools = {"near": {"replicas": 1}, "far": {"replicas": 1, "zone": "asia"}, "lab": {"replicas": 1, "zone": "asia"}}
    requests = played({"asia": 0.1, "lab": 0.02}, fleet={"pools": pools}).requests
    by_pool = requests.groupby("pool", observed=True)["ttft_s"].min()
    assert by_pool["far"] - by_pool["near"] == pytest.approx(0.2)
    assert by_pool["lab"] - by_pool["near"] == pytest.approx(0.04)


def test_a_client_that_is_gone_before_the_answer_arrives_gets_none() -> None:
    """Answered in the engine within about 0.6 s, but a second away: with 1.8 s of patience the answer is wasted on its way."""
    requests = played({"main": 1.0}, replicas=1, gateway={"client_timeout_s": 1.8}).requests
    assert set(requests["outcome"]) == {"timed_out"}
    assert (requests["finish_s"] - requests["arrival_s"]).to_numpy() == pytest.approx(1.8)
    assert set(requests["wasted_tokens"]) == {20}


def test_an_abort_travels_too() -> None:
    """Given up after 1 s; the engine learns of it half a second later, and has sampled meanwhile."""
    trace = Trace(np.array([0.0, 60.0]), np.array([200, 200]), np.array([400, 1]))
    wasted = [
        int(played({"main": way}, trace, replicas=1, gateway={"client_timeout_s": 1.0}).requests["wasted_tokens"][0])
        for way in (0.0, 0.5)
    ]
    step_s = 1.0 / wasted[0]
    assert wasted[1] * step_s == pytest.approx(1.0, abs=0.1)  # 0.5 s later there, 0.5 s later told: as long at work


@pytest.mark.parametrize("seed", range(4))
def test_the_laws_hold_with_everything_at_once(seed: int) -> None:
    gateway = {
        "hedging": {"delay_s": 0.05, "max_hedges": 3}, "retries": {"kind": "backoff", "base_s": 0.05}, "client_timeout_s": 0.7,
        "passes": [{"stage": "before", "pool": "main", "output_tokens": 3}], "router": {"kind": "random"},
    }  # fmt: skip
    result = played({"main": 0.1}, trace_of(seed), gateway=gateway)
    assert result.gateway["hedges"] > 0


def test_a_place_that_is_none_is_refused() -> None:
    with pytest.raises(ConfigError, match="network_one_way_s names pools or zones, but got 'mars'; there are main, zone_a"):
        played({"mars": 0.1})
