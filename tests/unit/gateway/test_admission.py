"""Who is let in, by hand. Sources: the head of ``sim.gateway.admission`` (the extension's ``utilizationdetector`` and
``requestcontrol/admission.go``; LiteLLM's budgets)."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from sim.analysis.laws import violations
from sim.cli.compose import composed_scenario
from sim.gateway.admission import RateLimiter, SaturationDetector, TenantBudgetCap, TokenBucket
from sim.gateway.request import ClientRequest
from sim.run import simulate
from sim.spec.gateway.admission import RateLimit, SaturationShedding, TenantBudgets
from sim.workload import Trace
from tests.contract.test_gateway_policies import FixedSignals, Replica
from tests.laws.test_gateway import run


def request(**known: Any) -> ClientRequest:
    made = ClientRequest(0, 0.0, known.pop("tokens", 100))
    for name, value in known.items():
        setattr(made, name, value)
    return made


class TestRateLimit:
    def test_a_bucket_fills_at_its_rate_up_to_its_burst(self) -> None:
        bucket = TokenBucket(2.0, 5.0)
        bucket.take(5)
        assert bucket.wait_s(1, 0.0) == 0.5
        assert bucket.wait_s(4, 1.0) == 1.0  # 2 are there
        assert bucket.wait_s(5, 100.0) == 0.0
        assert bucket.wait_s(9, 100.0) == 0.0  # more than the burst needs a full bucket
        bucket.take(9)
        assert bucket.wait_s(1, 100.0) == 0.5

    def test_requests_and_tokens_must_both_suffice_and_retry_after_is_the_longer_wait(self) -> None:
        limit = RateLimiter(RateLimit(requests_per_s=1.0, burst_requests=2, tokens_per_s=100.0, burst_tokens=300))
        assert limit.refuse(request(tokens=200), 0.0) is None
        refused = limit.refuse(request(tokens=200), 0.0)
        assert refused is not None
        assert refused.retry_after_s == 1.0  # 100 tokens short
        assert limit.refuse(request(tokens=100), 0.0) is None  # a refusal takes nothing
        refused = limit.refuse(request(tokens=1), 0.5)
        assert refused is not None
        assert refused.retry_after_s == 0.5  # half a request short, and no token

    def test_each_tenant_has_its_own(self) -> None:
        limit = RateLimiter(RateLimit(per="tenant", requests_per_s=1.0))
        assert limit.refuse(request(tenant="a"), 0.0) is None
        assert limit.refuse(request(tenant="b"), 0.0) is None
        assert limit.refuse(request(tenant="a"), 0.0) is not None


class TestSaturation:
    def detector(self, *replicas: Replica, **spec: Any) -> SaturationDetector:
        signals: Any = FixedSignals(0.0)
        return SaturationDetector(SaturationShedding(**spec), lambda: replicas, signals)  # type: ignore[arg-type, return-value]

    def test_it_is_the_mean_over_replicas_of_the_scarcer_resource(self) -> None:
        """Queues 5 and 1 of 5, KV 0.2 and 0.6 of 0.8: max(1, 0.25) and max(0.2, 0.75): 0.875."""
        assert self.detector(Replica(0, 5, 0, 0.2), Replica(1, 1, 0, 0.6)).saturation() == pytest.approx(0.875)

    @pytest.mark.parametrize(("waiting", "kv", "sheds"), [(4, 0.0, False), (5, 0.0, True), (0, 0.79, False), (0, 0.8, True)])
    def test_it_sheds_from_one_on(self, waiting: int, kv: float, sheds: bool) -> None:
        assert (self.detector(Replica(0, waiting, 0, kv)).refuse(request(), 0.0) is not None) is sheds

    def test_where_nobody_is_there_nothing_is_full_and_the_queue_holds(self) -> None:
        assert self.detector().refuse(request(), 0.0) is None

    def test_llm_d_sheds_only_what_is_sheddable(self) -> None:
        """A priority below 0 there is one above 0 here (lower is sooner); the rest passes however full it is."""
        detector = self.detector(Replica(0, 500, 0, 1.0), protected_priority=0)
        assert [detector.refuse(request(priority=p), 0.0) is not None for p in (-1, 0, 1)] == [False, False, True]


def test_a_fleet_at_zero_wakes_behind_shedding() -> None:
    """What was shed would be nobody's demand: the first request waits, and the autoscaler sees it."""
    scenario = composed_scenario(
        [
            "fleet=scale_to_zero",
            "autoscaler=keda",
            "gateway=full",
            "gateway.client_timeout_s=1200",
            "output.timeseries=false",
        ]
    )
    result = simulate(scenario, Trace(np.arange(60) * 10.0, np.full(60, 200), np.full(60, 20)))
    assert set(result.requests["outcome"]) == {"completed"}
    assert violations(result) == []


def test_the_llm_d_preset_sheds_nobody_of_an_ordinary_trace() -> None:
    n = 120
    overload = Trace(np.arange(n) * 0.01, np.full(n, 800), np.full(n, 60), {"priority": np.arange(n) % 3 - 1})
    gateway = {"router": {"kind": "weighted_score"}, "admission": [{"kind": "saturation", "protected_priority": 0}]}
    requests = run(gateway, overload, replicas=2).requests
    shed = (requests["outcome"] == "shed").to_numpy()
    low = overload.labels["priority"][requests["request_id"]] == 1
    assert shed.any()
    assert not shed[~low].any()


class TestTenantBudgets:
    def test_a_tenant_is_refused_once_its_period_s_bill_is_reached(self) -> None:
        """$0.1 and $0.4 a million: 2,000 prompt and 500 answer tokens are $0.0004; the second answer reaches $0.0008."""
        cap = TenantBudgetCap(TenantBudgets(usd={"a": 0.0008}, period_s=100.0))
        for _ in range(2):
            assert cap.refuse(request(tenant="a", tokens=2000), 10.0) is None
            cap.answered(request(tenant="a", tokens=2000), 500, 10.0)
        refused = cap.refuse(request(tenant="a"), 30.0)
        assert refused is not None
        assert refused.retry_after_s == 70.0
        assert cap.refuse(request(tenant="a"), 100.0) is None  # a new period
        assert cap.refuse(request(tenant="b"), 30.0) is None  # no cap


def test_a_fleet_at_zero_wakes_behind_a_hybrid_that_sends_the_overload_away() -> None:
    """With nobody ready it is the gateway's own line that is short or long: two wait in it and wake the fleet."""
    scenario = composed_scenario(
        [
            "fleet=scale_to_zero",
            "autoscaler=keda",
            "gateway.hybrid={overload_waiting: 2}",
            "api=gpt_4o_mini",
            "gateway.client_timeout_s=1200",
            "output.timeseries=false",
        ]
    )
    result = simulate(scenario, Trace(np.arange(60) * 10.0, np.full(60, 200), np.full(60, 20)))
    assert (result.requests["outcome"].iloc[:2] == "completed").all()
    assert violations(result) == []
