"""Static weights, by hand. Source: the head of ``sim.gateway.static_weights``."""

from __future__ import annotations

from collections import Counter

import pytest

from sim.errors import ConfigError
from sim.gateway.request import ClientRequest
from sim.gateway.static_weights import StaticWeightsRouter
from sim.spec.gateway.routing import StaticWeights
from tests.contract.test_gateway_policies import Replica
from tests.laws.test_gateway import run, trace_of


def chosen(spec: StaticWeights, servers: list[Replica], n: int) -> list[Replica]:
    router = StaticWeightsRouter(spec)
    return [router.choose(ClientRequest(row, 0.0, 1), servers) for row in range(n)]


def test_nginx_s_own_example() -> None:
    """Weights 5, 1, 1: a a b a c a a (the commit that introduced it)."""
    spec = StaticWeights(replicas={"main-0": 5})
    assert [server.index for server in chosen(spec, [Replica(i) for i in range(3)], 7)] == [0, 0, 1, 0, 2, 0, 0]


def test_a_pool_s_share_is_the_pool_s_however_many_replicas_it_has() -> None:
    """9 : 1 between pools of one and of five: of 100 requests 90 and 10, the ten spread over the five."""
    servers = [Replica(0, pool="old"), *(Replica(index, pool="new") for index in range(1, 6))]
    counts = Counter((server.pool, server.index) for server in chosen(StaticWeights(pools={"old": 9}), servers, 100))
    assert counts[("old", 0)] == 90
    assert [counts[("new", index)] for index in range(1, 6)] == [2] * 5


def test_who_weighs_nothing_gets_a_request_only_where_nobody_else_can() -> None:
    spec = StaticWeights(pools={"b": 0})
    both = [Replica(0, pool="a"), Replica(1, pool="b")]
    assert {server.pool for server in chosen(spec, both, 20)} == {"a"}
    assert {server.pool for server in chosen(spec, both[1:], 20)} == {"b"}


def test_shares_in_a_run_and_a_pool_that_is_none() -> None:
    pools = {"a": {"replicas": 2}, "b": {"replicas": 2}}
    requests = run({"router": {"kind": "static_weights", "pools": {"a": 3}}}, trace_of(1), fleet={"pools": pools}).requests
    assert requests["pool"].value_counts().to_dict() == {"a": 60, "b": 20}
    with pytest.raises(ConfigError, match=r"gateway\.router\.pools\.c names no pool"):
        run({"router": {"kind": "static_weights", "pools": {"c": 3}}}, trace_of(1), fleet={"pools": pools})
