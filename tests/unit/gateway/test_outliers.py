"""Who is left out, and for how long, by hand. Sources: the heads of ``envoy_outliers``, ``litellm_cooldown``,
``circuit_breaker``."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sim.fleet.endpoints import Endpoints
from sim.gateway.outliers import make_outliers
from sim.gateway.request import Failure
from sim.record import Result
from sim.spec.gateway.retrying import CircuitBreaker, EnvoyOutliers, LitellmCooldown
from sim.workload import Trace
from tests.laws.test_gateway import run, trace_of

TIMEOUT, REFUSED = Failure("timeout", ""), Failure("shed", "")


class Cluster:
    """Targets 0..n-1 under one detector."""

    def __init__(self, spec: Any, n: int) -> None:
        self.detector = make_outliers(spec)
        self.targets = [SimpleNamespace(index=index, name=str(index)) for index in range(n)]

    def fail(self, target: int, at_s: float, times: int = 1, failure: Failure | None = TIMEOUT) -> None:
        for _ in range(times):
            self.detector.sent(self.targets[target], at_s)
            self.detector.ended(self.targets[target], failure, self.targets, at_s)

    def answer(self, target: int, at_s: float, times: int = 1) -> None:
        self.fail(target, at_s, times, None)

    def out(self, at_s: float) -> set[int]:
        usable = {target.index for target in self.detector.usable(self.targets, at_s)}
        return {target.index for target in self.targets} - usable

    def news(self) -> list[tuple[int, float]]:
        return [(int(each.target), each.for_s) for each in self.detector.news()]


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 11), st.floats(0.0, 8.0)), max_size=80))
@settings(max_examples=60, deadline=None)
def test_envoy_sees_a_list_that_is_kept_as_it_sees_one_that_is_given(story: list[tuple[int, int, float]]) -> None:
    """Servers come and go, fail and answer; one detector is told of the endpoints, the other gets a new list each time."""
    spec = EnvoyOutliers(consecutive_failures=2, max_ejected_share=0.4, panic_share=0.3)
    endpoints = Endpoints(("main",))
    keeps, compares = make_outliers(spec, endpoints), make_outliers(spec)
    made: list[Any] = [SimpleNamespace(index=index, name=str(index), pool="main") for index in range(12)]
    for server in made[:9]:
        endpoints.join(server)
    now_s = 0.0
    for what, number, after_s in story:
        now_s += after_s
        server = made[number]
        if what == 0 and server in endpoints.ready and len(endpoints.ready) > 1:
            endpoints.leave(server)
        elif what == 0 and server not in endpoints.ready:
            endpoints.join(server)
        elif server in endpoints.ready:
            failure = TIMEOUT if what > 1 else None
            keeps.ended(server, failure, endpoints.ready, now_s)
            compares.ended(server, failure, list(endpoints.ready), now_s)
        assert list(keeps.usable(endpoints.ready, now_s)) == list(compares.usable(list(endpoints.ready), now_s))
        assert keeps.news() == compares.news()


class TestEnvoy:
    def test_five_failures_in_a_row_eject_for_thirty_seconds(self) -> None:
        cluster = Cluster(EnvoyOutliers(), 10)
        cluster.fail(3, 1.0, 4)
        cluster.answer(3, 1.0)
        cluster.fail(3, 1.0, 4)
        assert cluster.out(1.0) == set()
        cluster.fail(3, 1.0)
        assert cluster.news() == [(3, 30.0)]
        assert cluster.out(1.0) == {3}

    def test_it_comes_back_at_the_first_interval_after_its_time(self) -> None:
        """Ejected at 1 s for 30 s: the sweep at 30 s finds 29 s gone, that at 40 s lets it back."""
        cluster = Cluster(EnvoyOutliers(), 10)
        cluster.fail(3, 1.0, 5)
        assert cluster.out(39.9) == {3}
        assert cluster.out(40.0) == set()

    @pytest.mark.parametrize(("replicas", "ejected"), [(1, 0), (3, 0), (9, 0), (10, 1), (19, 1), (20, 2), (35, 3)])
    def test_ten_per_cent_of_nine_are_nobody(self, replicas: int, ejected: int) -> None:
        """``ejectHost``: 100 x (ejected + 1) / hosts <= max_ejection_percent."""
        cluster = Cluster(EnvoyOutliers(), replicas)
        for target in range(replicas):
            cluster.fail(target, 1.0, 5)
        assert len(cluster.out(1.0)) == ejected

    def test_always_eject_one_host_ejects_one_of_three(self) -> None:
        cluster = Cluster(EnvoyOutliers(always_eject_one=True), 3)
        for target in range(3):
            cluster.fail(target, 1.0, 5)
        assert cluster.out(1.0) == {0}

    def test_all_get_requests_while_fewer_than_half_are_in(self) -> None:
        """One of one ejected: 0 % are healthy, Envoy panics and uses it all the same."""
        cluster = Cluster(EnvoyOutliers(always_eject_one=True), 1)
        cluster.fail(0, 1.0, 5)
        assert cluster.news() == [(0, 30.0)]
        assert cluster.out(1.0) == set()

    def test_the_multiplier_grows_with_ejections_and_falls_with_quiet_intervals(self) -> None:
        """30, 60, 90 s; back at 210 s; the multiplier 3 falls by one at 220, 230 (not at 210, the interval it came back)."""
        cluster = Cluster(EnvoyOutliers(), 10)
        for at_s, back_s, for_s in ((0.0, 30.0, 30.0), (30.0, 90.0, 60.0), (90.0, 180.0, 90.0)):
            cluster.fail(3, at_s, 5)
            assert cluster.news() == [(3, for_s)]
            assert cluster.out(back_s - 0.1) == {3}
            assert cluster.out(back_s) == set()
        cluster.fail(3, 200.0, 5)  # 190 and 200 have passed: 3 - 2 + 1 = 2
        assert cluster.news() == [(3, 60.0)]
        assert cluster.out(259.9) == {3}
        cluster.fail(3, 400.0, 5)  # back at 260: it has fallen to 0 by 280
        assert cluster.news() == [(3, 30.0)]

    def test_the_time_out_is_capped(self) -> None:
        cluster, at_s, times = Cluster(EnvoyOutliers(), 10), 0.0, []
        for _ in range(14):
            cluster.fail(3, at_s, 5)
            times += cluster.news()
            at_s += times[-1][1]
        assert [for_s for _, for_s in times] == [30.0 * n for n in range(1, 10)] + [300.0] * 5

    def test_a_refusal_is_an_answer_to_envoy(self) -> None:
        """429 is no 5xx: it ends a row of failures."""
        cluster = Cluster(EnvoyOutliers(), 10)
        cluster.fail(3, 1.0, 4)
        cluster.fail(3, 1.0, 20, REFUSED)
        cluster.fail(3, 1.0, 4)
        assert cluster.out(1.0) == set()

    def test_a_success_rate_far_below_the_mean_ejects(self) -> None:
        """Envoy's own example: rates 50, 100, 100, 100, 100: mean 90, deviation 20, at 1.9 the threshold is 52."""
        cluster = Cluster(EnvoyOutliers(consecutive_failures=1000, max_ejected_share=1.0), 5)
        for target in range(5):
            cluster.answer(target, 1.0, 50 if target == 2 else 100)
        cluster.fail(2, 2.0, 50)
        assert cluster.out(9.9) == set()
        assert cluster.out(10.0) == {2}
        assert cluster.news() == [(2, 30.0)]

    @pytest.mark.parametrize(("replicas", "requests"), [(4, 100), (5, 99)])
    def test_too_few_replicas_or_requests_are_not_judged(self, replicas: int, requests: int) -> None:
        cluster = Cluster(EnvoyOutliers(consecutive_failures=1000, max_ejected_share=1.0), replicas)
        for target in range(replicas):
            cluster.answer(target, 1.0, requests // 2 if target == 2 else requests)
        cluster.fail(2, 2.0, requests - requests // 2)
        assert cluster.out(10.0) == set()

    def test_long_time_outs_in_short_intervals_cost_nothing(self) -> None:
        """A week of milliseconds is skipped, not walked."""
        cluster = Cluster(EnvoyOutliers(interval_s=0.001, base_ejection_s=6e5, max_ejection_s=6e5), 10)
        cluster.fail(3, 1.0, 5)
        assert cluster.out(600_000.9) == {3}
        assert cluster.out(600_001.1) == set()


class TestLitellm:
    def test_a_refusal_cools_at_once_for_five_seconds_or_as_long_as_it_says(self) -> None:
        cluster = Cluster(LitellmCooldown(), 2)
        cluster.fail(0, 1.0, failure=REFUSED)
        assert cluster.out(5.9) == {0}
        assert cluster.out(6.0) == set()
        cluster.fail(0, 10.0, failure=Failure("shed", "", 30.0))
        assert cluster.out(39.9) == {0}
        assert cluster.out(40.0) == set()
        assert cluster.news() == [(0, 5.0), (0, 30.0)]

    def test_more_than_half_of_at_least_five_in_a_minute(self) -> None:
        cluster = Cluster(LitellmCooldown(), 2)
        cluster.fail(1, 10.0, 4)  # 4 of 4, but fewer than 5
        assert cluster.out(10.0) == set()
        cluster.answer(1, 10.0, 5)
        cluster.fail(1, 10.0)  # 5 of 10 is not more than half
        assert cluster.out(10.0) == set()
        cluster.fail(1, 59.0)  # 6 of 11
        assert cluster.out(59.0) == {1}
        cluster.fail(1, 61.0, 4)  # a new minute begins at 60 s
        assert cluster.out(65.0) == set()

    def test_the_only_deployment_cools_for_neither_but_for_a_thousand_failures(self) -> None:
        cluster = Cluster(LitellmCooldown(), 1)
        cluster.fail(0, 1.0, failure=REFUSED)
        cluster.fail(0, 1.0, 998)
        assert cluster.out(1.0) == set()
        cluster.fail(0, 1.0)
        assert cluster.out(1.0) == {0}

    def test_a_thousand_requests_with_one_answer_do_not(self) -> None:
        cluster = Cluster(LitellmCooldown(), 1)
        cluster.answer(0, 1.0)
        cluster.fail(0, 1.0, 2000)
        assert cluster.out(1.0) == set()

    def test_all_may_be_out_at_once(self) -> None:
        cluster = Cluster(LitellmCooldown(), 2)
        cluster.fail(0, 1.0, failure=REFUSED)
        cluster.fail(1, 1.0, failure=REFUSED)
        assert cluster.out(1.0) == {0, 1}


class TestCircuitBreaker:
    SPEC = CircuitBreaker(window_requests=10, open_s=60.0, half_open_requests=4)

    def test_half_of_the_last_ten_opens_it(self) -> None:
        cluster = Cluster(self.SPEC, 3)
        cluster.fail(1, 0.0, 4)
        cluster.answer(1, 0.0, 5)
        assert cluster.out(0.0) == set()  # nine are too few
        cluster.answer(1, 0.0)
        assert cluster.out(0.0) == set()  # 4 of 10
        cluster.fail(1, 0.0, 4)  # the window slides: four old failures leave as four new ones come
        assert cluster.out(0.0) == set()
        cluster.fail(1, 5.0)  # 5 of the last 10
        assert cluster.out(5.0) == {1}
        assert cluster.news() == [(1, 60.0)]

    def test_the_defaults_wait_for_a_hundred(self) -> None:
        cluster = Cluster(CircuitBreaker(), 3)
        cluster.fail(1, 0.0, 99)
        assert cluster.out(0.0) == set()
        cluster.fail(1, 0.0)
        assert cluster.out(59.9) == {1}

    def opened(self) -> Cluster:
        cluster = Cluster(self.SPEC, 3)
        cluster.fail(1, 0.0, 10)
        return cluster

    def test_open_counts_nothing_and_half_open_lets_four_through(self) -> None:
        cluster = self.opened()
        cluster.fail(1, 30.0, 20)
        assert cluster.out(59.9) == {1}
        for _ in range(4):
            assert cluster.out(60.0) == set()
            cluster.detector.sent(cluster.targets[1], 60.0)
        assert cluster.out(60.0) == {1}

    @pytest.mark.parametrize(("failures", "opens"), [(0, False), (1, False), (2, True), (4, True)])
    def test_half_open_closes_or_opens_by_its_four(self, failures: int, opens: bool) -> None:
        cluster = self.opened()
        for _ in range(4):
            cluster.detector.sent(cluster.targets[1], 61.0)
        for number in range(4):
            cluster.detector.ended(cluster.targets[1], TIMEOUT if number < failures else None, cluster.targets, 62.0)
        assert (cluster.out(63.0) == {1}) is opens
        if opens:
            assert cluster.out(121.9) == {1}
            assert cluster.out(122.0) == set()
        else:  # closed and forgetful: nine failures are too few again
            cluster.fail(1, 63.0, 9)
            assert cluster.out(63.0) == set()

    def test_a_trial_that_was_called_off_gives_its_place_back(self) -> None:
        cluster = self.opened()
        for _ in range(4):
            cluster.detector.sent(cluster.targets[1], 60.0)
        cluster.detector.called_off(cluster.targets[1])
        assert cluster.out(60.0) == set()


def timed_out(outliers: dict[str, Any], n: int = 40, **more: Any) -> Result:
    """Requests that no replica can answer within the client's patience, one a second."""
    trace = Trace(np.arange(float(n)), np.full(n, 1000), np.full(n, 400))
    return run({"client_timeout_s": 0.5, "outliers": outliers, **more}, trace, replicas=3)


def test_in_a_fleet_of_three_envoy_ejects_nobody_and_a_breaker_lets_requests_fail() -> None:
    assert timed_out({"kind": "envoy"}).gateway["ejections"] == 0
    assert timed_out({"kind": "envoy", "always_eject_one": True}).gateway["ejections"] >= 1
    broken = timed_out({"kind": "circuit_breaker", "window_requests": 4, "open_s": 1000.0})
    assert broken.gateway["ejections"] == 3
    assert broken.requests["reason"].tolist() == ["client_timeout"] * 12 + ["all_left_out"] * 28
    opened = [event for event in broken.events if event["event"] == "breaker"]
    assert [event["ejected_s"] for event in opened] == [1000.0] * 3


def test_a_queue_does_not_wait_for_replicas_that_are_left_out() -> None:
    """All circuits open for long: what waits in the gateway's queue fails, and the run ends."""
    result = timed_out({"kind": "circuit_breaker", "window_requests": 4, "open_s": 1e6}, queue={"max_in_flight": 1})
    assert result.end_s < 60.0


def test_hedges_that_lose_do_not_count_against_their_replicas() -> None:
    hedged = run({"hedging": {"delay_s": 0.05}, "outliers": {"kind": "envoy", "consecutive_failures": 1, "max_ejected_share": 1.0}},
                 trace_of(3))  # fmt: skip
    assert hedged.gateway["hedges"] > 20
    assert hedged.gateway["ejections"] == 0
