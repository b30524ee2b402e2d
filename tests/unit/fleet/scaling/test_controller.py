"""The control loop: what it hands to a policy, by pool; policies of one's own; default targets."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import pytest

from sim.errors import ConfigError
from sim.fleet.blueprint import Blueprint
from sim.fleet.scaling.autoscalers import tokens_target
from sim.fleet.scaling.signals import FleetWindow
from sim.perf.steady import MeanRequest, steady_engine
from sim.run import simulate
from tests.laws.test_fleet import a_scenario, a_trace

MINE = {"kind": "plugin", "name": "mine", "scrape_s": 5.0, "interval_s": 5.0}


class Watcher:
    """Asks for what is there, and keeps what it was shown."""

    seen: list[FleetWindow]

    def __init__(self, size: int = 2) -> None:
        self.size = size
        Watcher.seen = []

    def desired(self, window: FleetWindow) -> int:
        self.seen.append(window)
        return self.size


def watched(**changes: Any) -> list[FleetWindow]:
    simulate(a_scenario(autoscaler=MINE, **changes), a_trace(200, 4.0, 0), policies={"mine": Watcher})
    return Watcher.seen


def test_a_class_of_the_session_is_an_autoscaler() -> None:
    scaler = {**MINE, "options": {"size": 4}}
    fleet = {"replicas": 2, "max_replicas": 8}
    result = simulate(a_scenario(autoscaler=scaler, fleet=fleet), a_trace(200, 4.0, 0), policies={"mine": Watcher})
    assert result.timeseries["replicas_ready"].max() == 4
    assert [e["cause"] for e in result.events if e["event"] == "scale"] == ["autoscaler plugin"]


def test_it_is_handed_its_random_stream_and_the_same_seed_gives_the_same_run() -> None:
    class Dice:
        def __init__(self, rng: np.random.Generator) -> None:
            self._rng = rng

        def desired(self, window: FleetWindow) -> int:
            return int(self._rng.integers(1, 5))

    runs = [
        simulate(a_scenario(autoscaler=MINE, seed=seed), a_trace(100, 4.0, 0), policies={"mine": Dice}).events
        for seed in (0, 0, 1)
    ]
    assert runs[0] == runs[1]
    assert runs[0] != runs[2]


@pytest.mark.parametrize("answer", [-1, 2.5, True, None])
def test_an_answer_that_is_no_size_is_the_policys_fault(answer: Any) -> None:
    class Wrong:
        def desired(self, window: FleetWindow) -> Any:
            return answer

    with pytest.raises(ConfigError, match="a whole number of replicas"):
        simulate(a_scenario(autoscaler=MINE), a_trace(50, 4.0, 0), policies={"mine": Wrong})


def test_a_name_that_nobody_knows_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"'mine' is not installed.*this session: \['other'\]"):
        simulate(a_scenario(autoscaler=MINE), a_trace(5, 4.0, 0), policies={"other": Watcher})


def test_arrivals_and_latencies_are_those_of_the_interval() -> None:
    """200 requests at 4/s: the windows' rates, 5 s each, add up to all but those after the last scrape."""
    seen = watched(fleet={"replicas": 2})
    arrivals = a_trace(200, 4.0, 0).arrival_s
    for window in seen:
        since_s = window.time_s - 5.0 if window.time_s > 5.0 else -1.0
        came = ((arrivals > since_s) & (arrivals <= window.time_s)).sum()
        assert window.arrivals_per_s * 5.0 == pytest.approx(came)
    assert sum(window.latencies.requests for window in seen) <= 200
    assert all(window.latencies.ttft_s <= window.latencies.e2e_s for window in seen if window.latencies.requests)


def test_what_waits_at_the_gateway_is_counted_once_over_the_pools_that_may_take_it() -> None:
    """Both pools start empty: each sees half of the queue, in requests, tokens and arrivals."""

    class Both(Watcher):
        all: ClassVar[dict[float, list[FleetWindow]]] = {}

        def desired(self, window: FleetWindow) -> int:
            self.all.setdefault(window.time_s, []).append(window)
            return 1

    pools = {name: {"replicas": 0, "autoscaler": MINE} for name in ("a", "b")}
    trace = a_trace(40, 4.0, 0)
    simulate(a_scenario(fleet={"pools": pools}), trace, policies={"mine": Both})
    first, second = Both.all[5.0]
    here = trace.arrival_s <= 5.0
    for window in (first, second):
        assert window.waiting == pytest.approx(here.sum() / 2)
        assert window.waiting_tokens == pytest.approx(trace.input_tokens[here].sum() / 2)
        assert window.arrivals_per_s * 5.0 == pytest.approx(here.sum() / 2)


def test_each_pool_sees_its_own_arrivals() -> None:
    class Mine(Watcher):
        all: ClassVar[list[FleetWindow]] = []

        def desired(self, window: FleetWindow) -> int:
            self.all.append(window)
            return 1

    pools = {"busy": {"replicas": 1}, "idle": {"replicas": 1, "autoscaler": MINE}}
    simulate(a_scenario(fleet={"pools": pools}, gateway={"pools": ["busy"]}), a_trace(100, 4.0, 0), policies={"mine": Mine})
    assert {window.arrivals_per_s for window in Mine.all} == {0.0}


def test_the_default_target_is_what_a_replica_holds_at_80_percent_of_what_it_sustains() -> None:
    scenario = a_scenario(slo={"ttft_p95_s": 2.0, "tpot_p95_s": 0.1})
    blueprint, mean = Blueprint("main", scenario.model, scenario.gpu, scenario.engine), MeanRequest(1158.0, 209.0)
    target = tokens_target(blueprint, scenario.slo, mean, 0.1)
    most = steady_engine(blueprint.step_time, blueprint.kv_tokens, blueprint.engine.max_num_seqs or 1, mean, 0.1)
    assert 0 < target < most.batch * (1158 + 209 / 2)
    assert target < blueprint.kv_tokens / 2  # what it was: more than the SLO allows on this GPU
    tight = a_scenario(slo={"tpot_p95_s": 0.04})
    assert tokens_target(blueprint, tight.slo, mean, 0.1) < target
