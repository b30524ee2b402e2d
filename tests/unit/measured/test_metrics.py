"""/metrics dumps: means from each histogram, the load of the moment, and the difference of two dumps."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from sim.errors import TraceError
from sim.measured import aggregates_in
from sim.measured.metrics import difference
from sim.measured.prometheus import Samples, from_text
from sim.trust.observations import Known, read_measurements

CASES = Path(__file__).parents[4] / "shared" / "cases" / "files"


def vllm(requests: int, running: int = 0, waiting: int = 0, ttft_s: float = 0.1, e2e_s: float = 2.1) -> str:
    """A dump after ``requests`` answered ones of 512 + 201 tokens."""
    histograms = {
        "request_prompt_tokens": 512.0 * requests, "request_generation_tokens": 201.0 * requests,
        "time_to_first_token_seconds": ttft_s * requests, "e2e_request_latency_seconds": e2e_s * requests,
    }  # fmt: skip
    lines = [f'vllm:num_requests_running{{engine="0"}} {running}', f'vllm:num_requests_waiting{{engine="0"}} {waiting}']
    for name, total in histograms.items():
        lines += [f'vllm:{name}_sum{{engine="0"}} {total}', f'vllm:{name}_count{{engine="0"}} {requests}']
    lines += [f"vllm:inter_token_latency_seconds_sum {2.0 * requests}",
              f"vllm:inter_token_latency_seconds_count {200 * requests}"]  # fmt: skip
    return "# HELP vllm:num_requests_running x\n" + "\n".join(lines) + "\n"


SGLANG = """sglang:num_running_reqs{tp_rank="0"} 4
sglang:num_queue_reqs{tp_rank="0"} 0
sglang:num_requests_total 10
sglang:prompt_tokens_total 1000
sglang:generation_tokens_total 500
sglang:time_to_first_token_seconds_sum 1.0
sglang:time_to_first_token_seconds_count 12
sglang:e2e_request_latency_seconds_sum 20.0
sglang:e2e_request_latency_seconds_count 10
sglang:inter_token_latency_seconds_sum 19.0
sglang:inter_token_latency_seconds_count 500
"""
TGI = """tgi_batch_current_size 4
tgi_queue_size 0
tgi_request_success{method="generate"} 10
tgi_request_duration_sum 20
tgi_request_duration_count 10
tgi_request_input_length_sum 1000
tgi_request_input_length_count 10
tgi_request_generated_tokens_sum 500
tgi_request_generated_tokens_count 10
tgi_request_mean_time_per_token_duration_sum 0.38
tgi_request_mean_time_per_token_duration_count 10
"""
DYNAMO = """dynamo_frontend_inflight_requests{model="m"} 4
dynamo_frontend_request_duration_seconds_sum{model="m"} 20
dynamo_frontend_request_duration_seconds_count{model="m"} 10
dynamo_frontend_input_sequence_tokens_sum{model="m"} 1000
dynamo_frontend_input_sequence_tokens_count{model="m"} 10
dynamo_frontend_output_sequence_tokens_sum{model="m"} 500
dynamo_frontend_output_sequence_tokens_count{model="m"} 10
dynamo_frontend_time_to_first_token_seconds_sum{model="m"} 1.2
dynamo_frontend_time_to_first_token_seconds_count{model="m"} 12
dynamo_frontend_inter_token_latency_seconds_sum{model="m"} 19
dynamo_frontend_inter_token_latency_seconds_count{model="m"} 500
vllm:num_requests_running 4
"""


def test_lengths_and_tpot_come_from_their_own_histograms() -> None:
    (point,) = aggregates_in("dump", vllm(600, running=64))
    assert (point.input_tokens, point.output_tokens) == (512, 201)
    assert point.tpot_s == pytest.approx(0.01)
    assert (point.ttft_s, point.e2e_s) == pytest.approx((0.1, 2.1))
    assert point.load.in_flight == 64


@pytest.mark.parametrize(
    ("text", "name", "ttft_s"), [(SGLANG, "SGLang", 1 / 12), (TGI, "TGI", None), (DYNAMO, "Dynamo", 0.1)]
)
def test_other_servers(text: str, name: str, ttft_s: float | None) -> None:
    (point,) = aggregates_in("dump", text)
    assert point.producer == f"{name} /metrics"
    assert (point.input_tokens, point.output_tokens, point.e2e_s, point.tpot_s) == (100, 50, 2.0, pytest.approx(0.038))
    assert point.load.in_flight == 4
    assert (point.ttft_s == pytest.approx(ttft_s)) if ttft_s is not None else "TTFT is not reported" in point.words


def test_a_queue_that_the_ttft_denies_came_just_then() -> None:
    (point,) = aggregates_in("dump", vllm(600, running=64, waiting=64))
    assert point.load.in_flight == pytest.approx(64 * 2.1 / 2.0)
    (true_queue,) = aggregates_in("dump", vllm(600, running=64, waiting=64, ttft_s=2.0, e2e_s=4.0))
    assert true_queue.load.in_flight == 128


def test_an_idle_server_and_one_after_its_run_are_refused_kindly() -> None:
    with pytest.raises(TraceError, match="answered no request yet; take the dump while it serves"):
        aggregates_in("dump", vllm(0))
    with pytest.raises(TraceError, match=r"none running.*give a dump from before the run"):
        aggregates_in("dump", vllm(600))


def test_a_pair_is_a_difference_and_littles_law_its_load() -> None:
    before, after = from_text("before", vllm(100)), from_text("after", vllm(700))
    point = difference(before, after, 120.0)
    assert point.requests == 600
    assert point.load.in_flight == pytest.approx(600 * 2.1 / 120)
    assert "Little's law" in point.words
    with pytest.raises(TraceError, match=r"do not fit into 0\.1 s"):
        difference(before, after, 0.1)
    with pytest.raises(TraceError, match="fell since after: the server was started again"):
        difference(after, before, 120.0)
    with pytest.raises(TraceError, match="answered no request since"):
        difference(before, from_text("later", vllm(100)), 120.0)


def test_a_folder_of_dumps_is_read_as_the_differences(tmp_path: Path) -> None:
    for name, requests in (("z_before.txt", 0), ("b.prom", 600), ("a.txt", 1200)):
        (tmp_path / name).write_text(vllm(requests))
    readings = read_measurements([tmp_path], Known(interval_s=120.0))
    assert [run.point.requests for run in readings.runs if run.point] == [600, 600]
    (tmp_path / "busy.txt").write_text(vllm(1200, running=10))
    readings = read_measurements([tmp_path])
    (run,) = readings.runs
    assert run.concurrency == 10
    why = {Path(file).name: reason for file, reason in readings.skipped}
    assert "counts the same requests as" in why["a.txt"]
    assert "neither dump has a running request" in why["b.prom"]
    os.utime(tmp_path / "z_before.txt", (1000, 1000))
    os.utime(tmp_path / "b.prom", (1120, 1120))
    by_time = read_measurements([tmp_path]).runs[0]
    assert by_time.point
    assert by_time.point.load.in_flight == pytest.approx(10.5)
    assert "between the files' times" in by_time.words
    known = read_measurements([tmp_path / "b.prom"], Known(concurrency=12.0))
    assert known.runs[0].concurrency == 12


def test_a_range_query_is_a_difference_over_its_interval() -> None:
    result = []
    for name, series in from_text("", vllm(100)).values.items():
        last = from_text("", vllm(700)).values[name]
        result += [
            {"metric": {"__name__": name, "engine": labels}, "values": [[1000.0, str(value)], [1120.0, str(last[labels])]]}
            for labels, value in series.items()
        ]
    document = {"status": "success", "data": {"resultType": "matrix", "result": result}}
    (point,) = aggregates_in("query", json.dumps(document))
    assert point.requests == 600
    assert point.load.in_flight == pytest.approx(10.5)
    document["data"] = {"resultType": "matrix", "result": [{"metric": {}, "values": [[1, "2"]]}]}
    with pytest.raises(TraceError, match="no __name__"):
        aggregates_in("query", json.dumps(document))


def test_labels_in_another_order_are_the_same_series() -> None:
    turned = [vllm(100), vllm(700)]
    for place, labels in enumerate(('{engine="0",model_name="m"}', '{model_name="m",engine="0",}')):
        turned[place] = turned[place].replace('{engine="0"}', labels)
    point = difference(from_text("before", turned[0]), from_text("after", turned[1]), 120.0)
    assert point.requests == 600
    gone = from_text("after", vllm(700).replace('engine="0"', 'engine="1"'))
    with pytest.raises(TraceError, match=r'after: lacks .*engine="0".* of before'):
        difference(from_text("before", vllm(100)), gone, 120.0)


def queried(changed: str = "", values: tuple[float, ...] = (), instances: tuple[str, ...] = ("a",)) -> str:
    """A range query over 180 s with 100 requests a minute for each instance; one series ``changed`` to ``values``."""
    result = []
    for instance in instances:
        dumps = [from_text("", vllm(requests)).values for requests in (100, 200, 300, 400)]
        for name in dumps[0]:
            held = values if name == changed else tuple(next(iter(dump[name].values())) for dump in dumps)
            points = [[1000.0 + 60 * place, str(value)] for place, value in enumerate(held)]
            result.append({"metric": {"__name__": name, "instance": instance}, "values": points})
    return json.dumps({"status": "success", "data": {"resultType": "matrix", "result": result}})


def test_a_range_query_with_a_restart_or_an_end_inside_is_refused() -> None:
    (point,) = aggregates_in("query", queried())
    assert point.load.in_flight == pytest.approx(300 * 2.1 / 180)
    counter = "vllm:e2e_request_latency_seconds_sum"
    with pytest.raises(TraceError, match="falls from 4000 to 0 at 1120: the server was started again"):
        aggregates_in("query", queried(counter, (210.0, 4000.0, 0.0, 840.0)))
    with pytest.raises(TraceError, match=r"do not cover the same time .* to 1060"):
        aggregates_in("query", queried(counter, (210.0, 420.0)))


def test_several_engines_are_one_mean_engine() -> None:
    (alone,) = aggregates_in("query", queried())
    (both,) = aggregates_in("query", queried(instances=("a", "b")))
    assert both.load.in_flight == pytest.approx(alone.load.in_flight)
    assert (both.input_tokens, both.e2e_s) == (alone.input_tokens, pytest.approx(alone.e2e_s))
    assert "2 engines" in both.words
    one, ranks = vllm(600, running=64), vllm(600, running=64)
    ranks = "\n".join(line for line in ranks.splitlines() if "engine=" in line).replace('"0"', '"1"')
    (point,) = aggregates_in("dump", one + ranks)
    assert point.load.in_flight == 64


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("vllm:num_requests_running 6_4\n", "line 1: .* is '6_4'"),
        ("vllm:num_requests_running \u0666\u0664\n", "line 1: .* legal is a number"),
        ("vllm:num_requests_running 1\nvllm:num_requests_running 1\n", "line 2: .* is there twice"),
        ("vllm:num_requests_running one\n", "line 1: .* is 'one'"),
        ("vllm:num_requests_running 1\nhello there you {\n", "line 2: is 'hello"),
    ],
)
def test_a_damaged_dump_names_its_line(text: str, message: str) -> None:
    with pytest.raises(TraceError, match=message):
        aggregates_in("dump", text)


def test_two_models_in_one_dump_are_refused(tmp_path: Path) -> None:
    one = vllm(10, running=1).replace('engine="0"', 'engine="0",model_name="a"')
    with pytest.raises(TraceError, match=r"2 models \(a, b\)"):
        aggregates_in("dump", one + vllm(10).replace('engine="0"', 'engine="0",model_name="b"').split("x\n")[1].replace(
            "vllm:inter_token_latency", "vllm:other"))  # fmt: skip
    (tmp_path / "both.txt").write_text(one + one.replace('"a"', '"b"').replace("vllm:inter_token_latency", "vllm:other"))
    (tmp_path / "one.txt").write_text(one)
    readings = read_measurements([tmp_path])
    assert (len(readings.runs), len(readings.skipped)) == (1, 1)


def test_values_add_up_over_engines() -> None:
    samples = Samples("x", {"n": {'{engine="0"}': 1.0, '{engine="1"}': 2.0}})
    assert samples.total("missing", "n") == 3.0


@pytest.mark.parametrize("name", ["metrics_idle_server.txt", "metrics_after_the_run.txt"])
def test_shared_dumps_without_a_load(name: str) -> None:
    if not CASES.is_dir():
        pytest.skip("the shared cases are not here")
    with pytest.raises(TraceError, match=name):
        aggregates_in(name, (CASES / name).read_text())


def test_shared_dumps_under_load() -> None:
    if not CASES.is_dir():
        pytest.skip("the shared cases are not here")
    (point,) = aggregates_in("dump", (CASES / "metrics_under_load.txt").read_text())
    assert (point.input_tokens, point.output_tokens) == (512, 256)
    assert 1e3 * point.tpot_s == pytest.approx(6.06, abs=0.01)
    (point,) = aggregates_in("dump", (CASES / "metrics_sglang.txt").read_text())
    assert point.producer == "SGLang /metrics"
