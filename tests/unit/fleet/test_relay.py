"""What engines say reaches the gateway, whoever stands between."""

from __future__ import annotations

from sim.engine.listener import EngineListener
from sim.fleet.relay import Relay
from sim.run import simulate
from tests.laws.test_fleet import a_scenario, a_trace


def test_a_relay_hands_everything_on() -> None:
    said = {name for name in vars(EngineListener) if not name.startswith("_")}
    assert said <= set(vars(Relay))


def test_hedges_are_won_by_the_first_token_under_an_autoscaler_and_beside_batch_work_too() -> None:
    """Neither watches nor batch work that never enters change a run."""
    hedged = {"hedging": {"delay_s": 0.2, "max_hedges": 2}}
    plain = a_scenario(fleet={"replicas": 3}, gateway=hedged)
    never = {"kind": "qps", "interval_s": 1e4, "scrape_s": 1e4}
    idle = {"tasks": 1, "input_tokens": 10, "output_tokens": 10, "release_s": 1e6}
    watched = a_scenario(fleet={"replicas": 3, "background": idle}, gateway=hedged, autoscaler=never)
    trace = a_trace(150, 6.0, 0)
    first, second = simulate(plain, trace), simulate(watched, trace)
    assert first.gateway["hedges"] > 0
    assert first.requests.equals(second.requests)
