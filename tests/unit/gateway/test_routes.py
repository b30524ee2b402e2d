"""Two models on two routes: a route -> pool map, with its own SLO and price."""

from __future__ import annotations

import numpy as np
import pytest

from sim.analysis import summarize
from sim.analysis.laws import violations
from sim.cli.compose import composed_scenario
from sim.errors import ConfigError
from sim.run import simulate
from sim.workload import Trace

POOLS = "fleet.pools={big: {replicas: 1, engine: {tensor_parallel_size: 2}}, small: {replicas: 2}}"


def trace(n: int = 200) -> Trace:
    return Trace(
        arrival_s=np.arange(n) * 0.2, input_tokens=np.full(n, 300), output_tokens=np.full(n, 30),
        labels={"route": np.array([("rag", "chat", "other")[i % 3] for i in range(n)], dtype=object)},
    )  # fmt: skip


@pytest.mark.parametrize("others", [{"big", "small"}])
def test_a_route_goes_to_its_pool(others: set[str]) -> None:
    scenario = composed_scenario([POOLS, "gateway.routes={rag: big, chat: small}", "output.timeseries=false"])
    result = simulate(scenario, trace())
    pools = result.requests.groupby("route", observed=True)["pool"].agg(lambda column: set(column.astype(str)))
    assert pools["rag"] == {"big"} and pools["chat"] == {"small"} and pools["other"] <= others
    assert violations(result) == []
    summary = summarize(result)
    assert summary["by_route"]["rag"]["usd"] > 0
    assert sum(row["usd"] for row in summary["by_route"].values()) > summary["by_route"]["rag"]["usd"]


def test_a_route_without_a_pool_of_its_own_goes_to_those_that_none_names() -> None:
    result = simulate(composed_scenario([POOLS, "gateway.routes={rag: big}", "output.timeseries=false"]), trace())
    assert set(result.requests.loc[result.requests["route"] != "rag", "pool"].astype(str)) == {"small"}


def test_a_pool_that_the_fleet_lacks_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"gateway\.routes\.rag"):
        composed_scenario([POOLS, "gateway.routes={rag: huge}"])
