"""Contracts that every policy of the gateway keeps, those of other distributions included."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

from sim.errors import ConfigError
from sim.gateway.request import ClientRequest
from sim.gateway.routers import make_router
from sim.gateway.signals import Snapshot
from sim.gateway.waiting import WaitingRoom
from sim.plugins import ROUTERS, Plugins
from sim.run import simulate
from sim.spec import parse_scenario
from sim.spec.gateway.routing import (
    AdapterAffinity,
    LeastKv,
    LeastRequests,
    LeastTokensInFlight,
    PowerOfTwo,
    RandomRouter,
    RoundRobin,
    SessionAffinity,
    SglangCacheAware,
    WeightedScore,
)
from sim.workload import Trace
from tests.conftest import L40S, LLAMA3_8B


class Replica(NamedTuple):
    index: int
    requests_in_flight: int = 0
    tokens_in_flight: int = 0
    kv_used: float = 0.0
    pool: str = "main"

    @property
    def name(self) -> str:
        return f"main-{self.index}"


class FixedSignals:
    """Signals that say what the replica says."""

    def __init__(self, staleness_s: float) -> None:
        self.staleness_s = staleness_s
        self.scrapes = 0

    def unchanged_since(self, scrapes: int) -> bool:
        return False

    def of(self, server: Replica) -> Snapshot:
        return Snapshot(server.requests_in_flight, server.tokens_in_flight, server.requests_in_flight, server.kv_used, 4000)


def router_of(spec: Any) -> Any:
    return make_router(spec, FixedSignals, np.random.default_rng(0), Plugins())  # type: ignore[arg-type]


def request(row: int = 0, **known: Any) -> ClientRequest:
    made = ClientRequest(row, 0.0, known.pop("input_tokens", 1000))
    for name, value in known.items():
        setattr(made, name, value)
    return made


SPECS = [
    RoundRobin(), RandomRouter(), PowerOfTwo(), LeastRequests(), LeastTokensInFlight(), LeastKv(), WeightedScore(),
    SessionAffinity(), SglangCacheAware(), AdapterAffinity(),
]  # fmt: skip


@pytest.mark.parametrize("spec", SPECS, ids=lambda spec: spec.kind)
class TestRouters:
    def test_the_answer_is_one_of_the_servers_even_when_they_change(self, spec: Any) -> None:
        router = router_of(spec)
        for row, n in enumerate((5, 1, 3, 7, 2)):
            servers = [Replica(index) for index in range(n)]
            assert router.choose(request(row), servers) in servers

    def test_the_same_seed_chooses_the_same(self, spec: Any) -> None:
        servers = [Replica(index) for index in range(8)]
        first, second = router_of(spec), router_of(spec)
        chosen = [(first.choose(request(row), servers), second.choose(request(row), servers)) for row in range(50)]
        assert all(one is other for one, other in chosen)


@pytest.mark.parametrize("spec", [LeastRequests(), LeastTokensInFlight(), LeastKv(), WeightedScore()], ids=lambda s: s.kind)
def test_load_routers_choose_the_idle_replica(spec: Any) -> None:
    servers = [Replica(0, 9, 9000, 0.9), Replica(1, 0, 0, 0.0), Replica(2, 5, 5000, 0.5)]
    assert router_of(spec).choose(request(), servers).index == 1


def test_power_of_two_never_takes_the_busiest_of_two_different_draws_and_balances() -> None:
    router = router_of(PowerOfTwo())
    loads = [0] * 10
    for row in range(2000):
        servers = [Replica(index, load) for index, load in enumerate(loads)]
        loads[router.choose(request(row), servers).index] += 1
    assert max(loads) - min(loads) <= 8


def test_tenants_share_by_weight_and_bands_come_first() -> None:
    room = WaitingRoom(fair=True, weights={"big": 3.0})
    requests = [request(row, tenant="big" if row % 2 else "small") for row in range(80)]
    urgent = request(99, tenant="small", priority=-1)
    for waiting in (*requests, urgent):
        room.push(waiting)
    assert room.pop() is urgent
    served = [room.pop() for _ in range(40)]
    shares = [r.tenant for r in served if r is not None]
    assert 28 <= shares.count("big") <= 32


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A distribution with one policy of each kind, as an installer leaves it."""
    (tmp_path / "tiny_policies.py").write_text(
        """
from sim.gateway.admission import Refusal

class Last:
    def __init__(self, skip=0): self.skip = skip
    def choose(self, request, servers): return servers[-1 - self.skip]

class Once:
    def wait_s(self, request, failure): return 1.0 if request.attempts == 1 else None

class EveryOther:
    def refuse(self, request, now_s): return Refusal("odd") if request.row % 2 else None
    def answered(self, request, output_tokens, now_s): pass
"""
    )
    info = tmp_path / "tiny_policies-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: tiny-policies\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(
        "[servecap.routers]\nlast = tiny_policies:Last\n[servecap.retry_policies]\nonce = tiny_policies:Once\n"
        "[servecap.admission]\nevery_other = tiny_policies:EveryOther\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "tiny_policies", raising=False)


@pytest.mark.usefixtures("installed")
def test_policies_of_an_installed_distribution_take_part() -> None:
    scenario = parse_scenario(
        {
            "model": LLAMA3_8B, "gpu": L40S, "workload": {"path": "x"}, "fleet": {"replicas": 3},
            "gateway": {
                "router": {"kind": "plugin", "name": "last", "options": {"skip": 1}},
                "retries": {"kind": "plugin", "name": "once"},
                "admission": [{"kind": "plugin", "name": "every_other"}],
            },
        }
    )  # fmt: skip
    trace = Trace(np.arange(6.0), np.full(6, 100), np.full(6, 10))
    requests = simulate(scenario, trace).requests
    assert list(requests["outcome"]) == ["completed", "shed"] * 3
    assert list(requests["attempts"]) == [1, 2] * 3
    assert set(requests["replica"].dropna()) == {"main-1"}


@pytest.mark.usefixtures("installed")
def test_a_plugin_that_is_not_there_or_does_not_take_its_options_says_so() -> None:
    with pytest.raises(ConfigError, match=r"'first' is not installed.*\['last'\]"):
        Plugins().make(ROUTERS, "first", {})
    with pytest.raises(ConfigError, match="does not take options"):
        Plugins().make(ROUTERS, "last", {"jump": 1})
