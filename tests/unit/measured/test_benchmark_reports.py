"""Every producer's report of one run says the same; what cannot be true or tells too little is refused."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest

from sim.errors import TraceError
from sim.measured import Aggregate, aggregates_in
from sim.trust.observations import read_observations
from sim.workload import read_trace
from tests.unit.measured import reports as run

CASES = Path(__file__).parents[4] / "shared" / "cases" / "files"


def one(text: str) -> Aggregate:
    (point,) = aggregates_in("file", text)
    return point


@pytest.mark.parametrize("name", run.REPORTS)
def test_every_producer_says_the_same(name: str) -> None:
    producer, text = run.REPORTS[name]
    point = one(text)
    assert point.producer == producer
    assert point.load.in_flight == run.IN_FLIGHT
    assert point.load.rate_per_s is None
    assert (point.input_tokens, point.output_tokens) == pytest.approx((run.INPUT, run.OUTPUT))
    assert (point.ttft_s, point.tpot_s, point.e2e_s) == pytest.approx((run.TTFT_S, run.TPOT_S, run.E2E_S))
    if name != "inferencex":
        assert point.requests == run.REQUESTS
    assert "8 requests in flight" in point.words


@pytest.mark.parametrize("name", run.REPORTS)
def test_as_a_trace_it_says_what_it_can_be_used_for(name: str, tmp_path: Path) -> None:
    producer, text = run.REPORTS[name]
    (tmp_path / "report").write_text(text)
    with pytest.raises(TraceError, match="servecap calibrate") as refusal:
        read_trace(tmp_path / "report")
    assert producer in str(refusal.value)


def test_aiperfs_table_says_what_its_json_says() -> None:
    point = one(run.AIPERF_TABLE)
    assert (point.producer, point.requests) == ("genai-perf", run.REQUESTS)
    assert (point.ttft_s, point.tpot_s, point.e2e_s) == pytest.approx((run.TTFT_S, run.TPOT_S, run.E2E_S))
    assert point.load.in_flight == pytest.approx(run.RATE * run.E2E_S)
    with pytest.raises(TraceError, match="another number of fields"):
        aggregates_in("file", run.VLLM_SUMMARY_TABLE + "1,2\n")


def test_an_input_length_that_is_only_asked_for_is_said() -> None:
    report = {key: value for key, value in run.AIPERF.items() if key != "input_sequence_length"}
    with pytest.raises(TraceError, match="holds no input_sequence_length"):
        one(json.dumps(report))
    report["input_config"] = {"loadgen": {"concurrency": 8}, "input": {"prompt": {"input_tokens": {"mean": run.INPUT}}}}
    assert "input length as it was asked for" in one(json.dumps(report)).words


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"config": {"profile": {"kind": "concurrent", "streams": [8]}}}, "8 requests in flight"),
        ({"config": {"strategy": {"type_": "poisson", "rate": 2.0}}}, "open load of 2 requests/s"),
        ({"config": {"strategy": {"type_": "synchronous"}}}, "closed loop of 1 requests"),
    ],
)
def test_guidellms_loads(changes: dict[str, Any], words: str) -> None:
    benchmark = {**run.GUIDELLM_SAMPLE["benchmarks"][0], **changes}
    assert words in one(json.dumps({"benchmarks": [benchmark]})).words


def test_responses_without_users_are_taken_one_at_a_time_and_it_is_said() -> None:
    point = one(json.dumps(run.LLMPERF_RESPONSES))
    assert point.load.assumed
    assert "assumed" in point.words
    assert point.tpot_s == pytest.approx(run.TPOT_S)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"request_rate": 2.0, "max_concurrency": None}, "open load of 2 requests/s"),
        ({"request_rate": 9.0}, "asked 9/s, got 2/s"),
        ({"ramp_up_strategy": "linear"}, "Little's law"),
        ({"max_concurrency": None, "duration": 2.5, "request_throughput": 40.0}, "all 100 requests at once"),
    ],
)
def test_the_load_is_said_as_it_was(changes: dict[str, Any], words: str) -> None:
    assert words in one(json.dumps({**run.VLLM, **changes})).words


def test_without_a_stated_load_littles_law_gives_it() -> None:
    point = one(json.dumps({**run.AIPERF, "input_config": {}}))
    assert point.load.by_littles_law
    assert point.load.in_flight == pytest.approx(run.RATE * run.E2E_S)


def test_a_harness_that_counts_chunks_does_not_halve_the_tpot() -> None:
    text = json.dumps({**run.VLLM, "mean_tpot_ms": 1e3 * run.TPOT_S / 2})
    point = one(text)
    assert point.tpot_s == pytest.approx(run.TPOT_S)
    assert "does not go with them" in point.words


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"mean_ttft_ms": 3000.0}, r"mean TTFT 3 s is above mean E2E 2\.2 s"),
        ({"completed": 0}, "answered no request"),
        ({"completed": 50}, r"50 requests in 50 s are 1 a second, but the report says 2"),
        ({"completed": "many"}, "completed is 'many'"),
        ({"completed": True}, "completed is True"),
        ({"mean_ttft_ms": -1.0}, "mean_ttft_ms is -1.0"),
        ({"mean_ttft_ms": float("nan")}, "mean_ttft_ms is nan"),
        ({"mean_ttft_ms": [1]}, r"mean_ttft_ms is \[1\]"),
        ({"mean_e2el_ms": 90_000.0, "mean_tpot_ms": 800.0}, "longer than the whole run"),
        ({"max_concurrency": 2}, "need 4.4 in flight, but the load is a closed loop of 2"),
        ({"total_input_tokens": None}, "lacks total_input_tokens"),
        ({"total_output_tokens": 0}, "mean output_tokens is 0"),
        ({"mean_ttft_ms": None, "mean_tpot_ms": None, "mean_e2el_ms": None}, "none of TTFT, TPOT and E2E"),
        ({"max_concurrency": "1_6"}, "max_concurrency is '1_6'"),
    ],
)
def test_what_cannot_be_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(TraceError, match=message):
        aggregates_in("file", json.dumps({**run.VLLM, **changes}))


def test_one_foreign_entry_among_runs_is_named() -> None:
    with pytest.raises(TraceError, match="run 2: is no report"):
        aggregates_in("file", json.dumps([run.VLLM, {"a": 1}]))


@pytest.mark.parametrize(
    ("report", "message"),
    [
        ({"elapsed_time": 1.0, "num_requests": 5, "total_num_tokens": 9, "tokens_per_second": 9.0}, "vllm bench throughput"),
        ({"avg_latency": 1.0, "latencies": [1.0], "percentiles": {"50": 1.0}}, "vllm bench latency"),
        ({"experiments": [], "service_kind": "openai"}, "raw export"),
    ],
)
def test_files_that_tell_too_little_are_named(report: dict[str, Any], message: str) -> None:
    with pytest.raises(TraceError, match=message):
        aggregates_in("file", json.dumps(report))


@pytest.mark.parametrize("text", ["", "{}", "[]", "[1]", "arrival_s\n1\n", "version: 1\n", '{"a": 1}\n{"b": 2}\n'])
def test_nobodys_report_is_none(text: str) -> None:
    assert aggregates_in("file", text) == []


@pytest.mark.parametrize(
    ("name", "producer", "in_flight", "rate", "lengths", "tpot_ms"),
    [
        ("vllm_bench_serve_0_25_summary.json", "vllm bench serve", 2, None, (32, 16), 8.2046),
        ("vllm_bench_serve_2025_09_summary.json", "vllm bench serve", 1, None, (102_399, 1565), 17.993),
        ("sglang_bench_serving_c8.jsonl", "sglang.bench_serving", 8, None, (264.97, 61.8), 5.2025),
        ("inference_perf_stage_0.json", "inference-perf", None, 1.0, (200.68, 62.35), 7.333),
        ("llmperf_individual_responses.json", "llmperf", 1, None, (550, 151), 17.92),
        ("guidellm_0_8_sampled.json", "guidellm", None, 4.0, (84.2, 10), 21.63),
    ],
)
def test_published_results(
    name: str, producer: str, in_flight: float | None, rate: float | None, lengths: tuple[float, float], tpot_ms: float
) -> None:
    if not CASES.is_dir():
        pytest.skip("the shared cases are not here")
    point = one((CASES / name).read_text())
    assert (point.producer, point.load.in_flight, point.load.rate_per_s) == (producer, in_flight, rate)
    assert (point.input_tokens, point.output_tokens) == pytest.approx(lengths, rel=1e-3)
    assert 1e3 * point.tpot_s == pytest.approx(tpot_ms, rel=1e-3)
    assert not math.isnan(point.ttft_s)
    with pytest.raises(TraceError, match="servecap calibrate"):
        read_trace(CASES / name)


@pytest.mark.parametrize("name", ["vllm", "sglang", "vllm_sweep", "guidellm_sample", "llm_d_0_2", "llmperf"])
def test_a_key_that_is_there_twice_is_refused(name: str, tmp_path: Path) -> None:
    text = run.REPORTS[name][1].rstrip()
    begin = text.index("{") + 1 if "{" in text[:2] else 0
    again = '"version": "1", "version": "2", ' if begin else "version: '1'\nversion: '0.2'\n"
    text = text[:begin] + again + (text[begin:] if begin else text.partition("\n")[2])
    with pytest.raises(TraceError, match="the key 'version' is there twice"):
        aggregates_in("file", text)
    (tmp_path / "file.json").write_text(text)
    with pytest.raises(TraceError, match="the key 'version' is there twice"):
        read_observations(tmp_path / "file.json")


@pytest.mark.parametrize("said", [{"scheduler_state": {"successful_requests": 40}}, {}])
def test_a_guidellm_sample_without_its_totals_is_a_sample(said: dict[str, Any], tmp_path: Path) -> None:
    (sample,) = run.GUIDELLM_SAMPLE["benchmarks"]
    report = {"benchmarks": [{**sample, "metrics": {}, **said}]}
    point = one(json.dumps(report))
    assert point.requests == (40 if said else 2)
    assert "the report kept 2" in point.words
    (tmp_path / "g.json").write_text(json.dumps(report))
    (observed,) = read_observations(tmp_path / "g.json")
    assert observed.point is not None
    with pytest.raises(TraceError, match="benchmark 0 kept 2"):
        read_trace(tmp_path / "g.json")
    all_kept = {"benchmarks": [{**sample, "config": {**sample["config"], "sample_size": 3}, "metrics": {}}]}
    (tmp_path / "all.json").write_text(json.dumps(all_kept))
    assert len(read_trace(tmp_path / "all.json")) == 2


@pytest.mark.parametrize("text", ["[]", "{}\n", " [ ]"])
def test_an_empty_report_is_called_empty(text: str, tmp_path: Path) -> None:
    (tmp_path / "empty.json").write_text(text)
    with pytest.raises(TraceError, match=r"empty\.json: is empty \(.*legal is at least one"):
        read_observations(tmp_path / "empty.json")
