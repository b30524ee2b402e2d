"""A value that makes no sense is refused with its key, what was found and what is legal; none is taken in silence."""

from __future__ import annotations

import pytest

from sim.analysis import summarize
from sim.cli.compose import composed_scenario
from sim.errors import ConfigError, SimError
from sim.run import simulate
from sim.run.asked_of_traffic import check_asked_of_traffic
from sim.workload.timeline import load_trace


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (["engine.max_num_seqs=true"], ["engine.max_num_seqs", "number", "True"]),
        (["seed=true", "fleet.pools.a.replicas=false"], ["seed", "fleet.pools.a.replicas", "False"]),
        (["fleet.replicas=1000000000000"], ["fleet.replicas", "10000"]),
        (["fleet.min_replicas=70"], ["min_replicas <= max_replicas", "70", "64"]),
        (["workload.rate_scale=1e9"], ["workload.rate_scale", "1000000"]),
        (["workload.format=bogus"], ["format", "path", "bogus"]),
        (["model.max_context=1"], ["model.max_context", "2"]),
        (["gpu.memory_gib=1e300"], ["gpu.memory_gib", "1e+300"]),
        (["gpu.price.on_demand_usd_per_hour=nan"], ["gpu.price.on_demand_usd_per_hour", "nan"]),
        (["engine.gpu_memory_utilization=1.5"], ["engine.gpu_memory_utilization", "1.5", "1"]),
        (["engine.max_model_len=131073"], ["engine.max_model_len", "131073", "131072"]),
        (["gateway.queue.weights.a=-1"], ["gateway.queue.weights.a", "-1"]),
        (["gateway.pools=[spare]"], ["gateway.pools.0", "spare", "main"]),
        (["autoscaler=keda", "autoscaler.up_pods=3"], ["autoscaler.up_pods", "autoscaler={kind: ..., up_pods: ...}"]),
        (["slo.ttft_p105_s=1"], ["slo.ttft_p105_s: no such key", "ttft_p95_s"]),
        (["slo.ttft_p75_s=-1"], ["ttft_p75_s", "-1", "greater than 0"]),
        (["slo.percentiles={ttft: 1}"], ["<metric>_<pNN>_s", "ttft"]),
        (
            ["gateway.router={kind: least_kv, staleness_s: 1e-9}"],
            ["gateway.router", "staleness_s", "at least 0.001", "1e-09"],
        ),
        (["gateway.retries={kind: backoff, max_attempts: 1000000}"], ["max_attempts", "100", "1000000"]),
        (["gateway.network_one_way_s={mars: 0.1}"], ["gateway.network_one_way_s", "mars", "main", "zone_a"]),
        (["gateway.outliers={kind: circuit_breaker, failed_share: 0}"], ["gateway.outliers", "failed_share", "0"]),
        (["gateway.router.kind=nope"], ["gateway.router", "nope", "round_robin"]),
        (["timeline=[{kind: rate, at_s: -1, factor: 2}]"], ["timeline.0.at_s", "-1"]),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else None,
)
def test_nonsense_is_refused(overrides: list[str], words: list[str]) -> None:
    with pytest.raises(ConfigError) as caught:
        composed_scenario(overrides)
    for word in words:
        assert word in str(caught.value)
    assert "{'" not in str(caught.value).replace("but got {'kind'", "")  # no dump of a whole section


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (["workload.warmup_s=1e6"], ["workload.warmup_s", "1e+06", "last arrives"]),
        (["slo.routes.chta.ttft_p95_s=1"], ["slo.routes.chta", "no request"]),
        (["workload.rate_scale=1e5"], ["rate_scale=100000", "100,000,000"]),
    ],
    ids=["warmup_beyond_the_end", "misspelt_route", "more_requests_than_memory"],
)
def test_what_the_trace_cannot_answer_is_refused(overrides: list[str], words: list[str]) -> None:
    with pytest.raises(SimError) as caught:
        scenario = composed_scenario(overrides)
        check_asked_of_traffic(scenario, load_trace(scenario))
    for word in words:
        assert word in str(caught.value)


def test_any_percentile_can_be_a_target() -> None:
    asked = ["slo.ttft_p75_s=0.001", "slo.queue_p80_s=9", "slo.itl_p50_s=2", "slo.e2e_p999_s=900"]
    summary = summarize(simulate(composed_scenario([*asked, "workload.limit=40", "fleet.replicas=2"])))
    slo, latency = summary["slo"], summary["latency"]
    assert slo["verdict"] == "fail"
    assert "TTFT p75" in slo["missed_by"]
    for name in ("ttft_p75_s", "queue_p80_s", "itl_p50_s", "e2e_p999_s"):
        metric, statistic = name.split("_")[:2]
        assert slo["attained"][name] == latency[f"{metric}_s"][statistic]
    assert latency["ttft_s"]["p50"] <= latency["ttft_s"]["p75"] <= latency["ttft_s"]["p90"]
    assert latency["e2e_s"]["p99"] <= latency["e2e_s"]["p999"] <= latency["e2e_s"]["max"]


def test_a_percentile_without_requests_enough_is_undecided() -> None:
    summary = summarize(simulate(composed_scenario(["slo.e2e_p999_s=900", "workload.limit=40", "fleet.replicas=6"])))
    assert summary["slo"]["verdict"] == "undecided"
