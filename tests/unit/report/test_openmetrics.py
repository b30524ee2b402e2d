"""A run under vLLM's metric names: consistent text that our own reader of /metrics understands, and a dashboard of it."""

from __future__ import annotations

import json
import re

import pytest

import sim
from sim.measured.prometheus import from_text
from sim.report import openmetrics as om


@pytest.fixture(scope="module")
def result() -> sim.Result:
    return sim.simulate(sim.scenario(workload={"limit": 600}, fleet={"replicas": 2}))


def test_each_moment_is_what_a_scrape_would_have_seen(result: sim.Result) -> None:
    moments = om.metrics_of(result, 1000.0)
    last = moments[-1][1]
    assert moments[0][0] is not None and moments[0][0] >= 1000.0
    assert last.counters[om.SUCCESS, "stop"] == (result.requests["finish_s"] <= result.timeseries["time_s"].max()).sum()
    totals = [one.counters[om.GENERATION, ""] for _, one in moments]
    assert totals == sorted(totals)
    assert sum(last.counts[om.TTFT]) == last.counters[om.SUCCESS, "stop"]
    assert len(om.metrics_of(result, 0.0)) <= om.MOST_MOMENTS + 1


def test_the_text_is_openmetrics(result: sim.Result) -> None:
    text = om.openmetrics(om.metrics_of(result, 1.7e9), "m")
    assert text.endswith("# EOF\n")
    families = re.findall(r"^# TYPE (\S+) (\S+)$", text, re.MULTILINE)
    assert len(families) == len(set(families)) == 14
    seen: list[str] = []
    for line in text.splitlines():
        name = line.split(" ")[2] if line.startswith(("# TYPE", "# HELP")) else line.split("{")[0]
        family = next((one for one, _ in families if re.fullmatch(rf"{one}(_total|_bucket|_count|_sum)?", name)), None)
        if family is not None and (not seen or seen[-1] != family):
            seen.append(family)
    assert len(seen) == len(set(seen))  # a family's lines stand together
    buckets = [float(value) for value in re.findall(r"time_to_first_token_seconds_bucket\{[^}]*\} (\S+) 17", text)]
    per_moment = len(om.TTFT_BUCKETS_S) + 1
    for at in range(0, len(buckets), per_moment):
        assert buckets[at : at + per_moment] == sorted(buckets[at : at + per_moment])


def test_our_reader_of_a_servers_metrics_reads_it(result: sim.Result) -> None:
    last = om.metrics_of(result, 0.0)[-1][1]
    samples = from_text("ours", om.openmetrics([(None, last)], "m"))
    assert samples.total("vllm:generation_tokens_total") == last.counters[om.GENERATION, ""]
    assert samples.total("vllm:time_to_first_token_seconds_count") == sum(last.counts[om.TTFT])


def test_the_dashboard_asks_for_what_is_written(result: sim.Result) -> None:
    board = json.loads(om.dashboard())
    text = om.openmetrics(om.metrics_of(result, 0.0), "m")
    written = set(re.findall(r"^((?:vllm|servecap):\w+)\{", text, re.MULTILINE)) | {f"{om.LOST}_total"}
    asked = {
        name
        for panel in board["panels"]
        for target in panel["targets"]
        for name in re.findall(r"(?:vllm|servecap):\w+", target["expr"])
    }
    assert asked <= written
    places = [(panel["gridPos"]["x"], panel["gridPos"]["y"]) for panel in board["panels"]]
    assert len(places) == len(set(places))
