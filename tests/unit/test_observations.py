"""What users have measured: every format is recognised by content and gives the same columns."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import numpy as np
import pytest

from sim.errors import TraceError
from sim.trust.observations import read_measurements, read_observations
from sim.workload import read_trace
from tests.unit.measured import reports

CSV = "arrival_s,input_tokens,output_tokens,ttft_s,e2e_s\n10.0,100,3,0.5,0.9\n10.5,200,1,0.7,0.7\n"
BENCH_SERVE = json.dumps({
    "input_lens": [100, 200, 5], "output_lens": [3, 1, 0], "ttfts": [0.5, 0.7, 0.0], "itls": [[0.1, 0.3], [], []],
    "start_times": [10.0, 10.5, 11.0], "errors": ["", "", "timeout"],
})  # fmt: skip
GUIDELLM = json.dumps({"benchmarks": [{"requests": {"successful": [
    {"request_start_time": at, "prompt_tokens": prompt, "output_tokens": output, "time_to_first_token_ms": ttft_ms,
     "request_latency": e2e_s}
    for at, prompt, output, ttft_ms, e2e_s in [(10.0, 100, 3, 500, 0.9), (10.5, 200, 1, 700, 0.7)]
]}}]})  # fmt: skip


def aiperf(start_s: float, prompt: int, output: int, ttft_ms: float, latency_ms: float) -> str:
    metric = {
        "input_sequence_length": (prompt, "tokens"), "output_sequence_length": (output, "tokens"),
        "time_to_first_token": (ttft_ms, "ms"), "request_latency": (latency_ms, "ms"),
    }  # fmt: skip
    record = {
        "metadata": {"request_start_ns": int(start_s * 1e9)},
        "metrics": {name: {"value": value, "unit": unit} for name, (value, unit) in metric.items()},
    }
    return json.dumps(record)


AIPERF = aiperf(10.0, 100, 3, 500, 900) + "\n" + aiperf(10.5, 200, 1, 700, 700) + "\n"
LOG = "\n".join(json.dumps(row) for row in [
    {"arrival_s": 10.0, "prompt_len": 100, "output_len": 3, "first_token_s": 10.5, "finish_s": 10.9, "shared": ["p", 64]},
    {"arrival_s": 10.5, "prompt_len": 200, "output_len": 1, "first_token_s": 11.2, "finish_s": 11.2, "shared": None},
])  # fmt: skip
METRICS = """# TYPE vllm:time_to_first_token_seconds histogram
vllm:time_to_first_token_seconds_sum{engine="0"} 20.0
vllm:time_to_first_token_seconds_count{engine="0"} 40
vllm:e2e_request_latency_seconds_sum{engine="0"} 80.0
vllm:e2e_request_latency_seconds_count{engine="0"} 40
vllm:prompt_tokens_total{engine="0"} 4000
vllm:generation_tokens_total{engine="0"} 1200
vllm:num_requests_running{engine="0"} 5
vllm:num_requests_waiting{engine="0"} 0
"""


@pytest.mark.parametrize(
    "text", [CSV, BENCH_SERVE, GUIDELLM, AIPERF, LOG], ids=["csv", "bench_serve", "guidellm", "aiperf", "log"]
)
def test_every_format_says_the_same(tmp_path: Path, text: str) -> None:
    file = tmp_path / "anything"
    file.write_text(text)
    (run,) = read_observations(file)
    assert run.trace.arrival_s == pytest.approx([0.0, 0.5])
    assert run.trace.input_tokens.tolist() == [100, 200]
    assert run.trace.output_tokens.tolist() == [3, 1]
    assert run.ttft_s == pytest.approx([0.5, 0.7])
    assert run.e2e_s == pytest.approx([0.9, 0.7])
    assert run.tpot_s[0] == pytest.approx(0.2)
    assert np.isnan(run.tpot_s[1])


def test_a_metrics_dump_gives_means_at_its_concurrency(tmp_path: Path) -> None:
    file = tmp_path / "metrics.txt"
    file.write_text(METRICS)
    (run,) = read_observations(file)
    assert run.concurrency == 5
    assert (run.trace.input_tokens[0], run.trace.output_tokens[0]) == (100, 30)
    assert (run.ttft_s[0], run.e2e_s[0]) == (0.5, 2.0)


def test_a_folder_holds_one_run_a_file(tmp_path: Path) -> None:
    (tmp_path / "low.csv").write_text(CSV)
    (tmp_path / "high.json").write_text(BENCH_SERVE)
    assert len(read_observations(tmp_path)) == 2


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("arrival_s,input_tokens\n1,2\n", "output_tokens"),
        (json.dumps({"ttfts": [1.0]}), "save-detailed"),
        (json.dumps({k: v for k, v in json.loads(BENCH_SERVE).items() if k != "start_times"}), "start_times"),
        ("", "no successful request"),
    ],
)
def test_what_is_missing_is_named(tmp_path: Path, text: str, message: str) -> None:
    file = tmp_path / "bad"
    file.write_text(text)
    with pytest.raises(TraceError, match=message):
        read_observations(file)
    with pytest.raises(TraceError, match="nowhere"):
        read_observations(tmp_path / "nowhere")


def test_guidellms_first_versions_list_requests_without_a_status(tmp_path: Path) -> None:
    document = json.loads(GUIDELLM)
    document["benchmarks"][0]["requests"] = document["benchmarks"][0]["requests"]["successful"]
    document["benchmarks"][0]["metrics"] = {"request_totals": {"successful": 2}}
    (tmp_path / "report.json").write_text(json.dumps(document))
    (run,) = read_observations(tmp_path / "report.json")
    assert run.point is None


def test_warm_up_and_cancelled_requests_are_left_out(tmp_path: Path) -> None:
    warm, gone = (json.loads(aiperf(1.0, 100, 3, 500, 900)) for _ in range(2))
    warm["metadata"]["benchmark_phase"] = "warmup"
    gone["metadata"]["was_cancelled"] = True
    (tmp_path / "profile_export.jsonl").write_text(AIPERF + json.dumps(warm) + "\n" + json.dumps(gone) + "\n")
    (run,) = read_observations(tmp_path)
    assert len(run.trace) == 2


def test_a_folder_names_what_it_skips_and_counts_no_run_twice(tmp_path: Path) -> None:
    deep = tmp_path / "runs" / "c8"
    deep.mkdir(parents=True)
    (deep / "profile_export.jsonl").write_text(AIPERF)
    (deep / "profile_export_aiperf.json").write_text(json.dumps(reports.AIPERF))
    (deep / ".ready.json").write_text('{"ready": true}')
    (tmp_path / "report.html").write_text("<html>ttft</html>")
    (tmp_path / "vllm.json").write_text(json.dumps(reports.VLLM))
    (tmp_path / "summary.json").write_text(json.dumps([reports.VLLM]))
    (tmp_path / "broken.json").write_text(json.dumps({**reports.VLLM, "mean_ttft_ms": 9e9}))
    readings = read_measurements([tmp_path])
    assert [len(run.trace) if run.point is None else run.point.producer for run in readings.runs] == [2, "vllm bench serve"]
    why = {Path(file.partition(",")[0]).name: reason for file, reason in readings.skipped}
    assert set(why) == {".ready.json", "report.html", "profile_export_aiperf.json", "vllm.json", "broken.json"}
    assert "says the same as" in why["vllm.json"]
    assert "summary of the requests beside it" in why["profile_export_aiperf.json"]
    assert "mean ttft_s is" in why["broken.json"] or "TTFT" in why["broken.json"]
    (tmp_path / "nothing").mkdir()
    with pytest.raises(TraceError, match="holds no benchmark result"):
        read_observations(tmp_path / "nothing")


def test_measured_requests_of_llmservingsim(tmp_path: Path) -> None:
    row = {"request_id": "a", "input_toks": 100, "output_toks": 3, "arrival_time": 10.0, "queued_ts": 10.1,
           "scheduled_ts": 10.2, "first_token_ts": 10.5, "last_token_ts": 10.9}  # fmt: skip
    (tmp_path / "requests.jsonl").write_text(json.dumps(row) + "\n")
    (run,) = read_observations(tmp_path / "requests.jsonl")
    assert (run.ttft_s[0], run.e2e_s[0]) == pytest.approx((0.5, 0.9))
    (tmp_path / "requests.jsonl").write_text(json.dumps({**row, "arrival_time": 1.7e9}) + "\n")
    (run,) = read_observations(tmp_path / "requests.jsonl")
    assert (run.ttft_s[0], run.e2e_s[0]) == pytest.approx((0.4, 0.8))


def test_inference_perfs_requests_and_compressed_files(tmp_path: Path) -> None:
    text = json.dumps(reports.INFERENCE_PERF_REQUESTS)
    (tmp_path / "per_request_lifecycle_metrics.json").write_text(text)
    (tmp_path / "again.json.gz").write_bytes(gzip.compress(text.encode()))
    for name in ("per_request_lifecycle_metrics.json", "again.json.gz"):
        (run,) = read_observations(tmp_path / name)
        assert run.trace.arrival_s == pytest.approx([0.0, 0.5])
        assert run.ttft_s == pytest.approx([reports.TTFT_S] * 2)
        assert run.e2e_s == pytest.approx([reports.E2E_S] * 2)


@pytest.mark.parametrize(
    ("change", "message"),
    [("0.5,0.9", "0.95,0.9"), ("100,3", "nan,3"), ("10.0,", "-inf,"), ("0.5,", "x,")],
)
def test_requests_that_cannot_be_are_refused(change: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "bad.csv").write_text(CSV.replace(change, message, 1))
    with pytest.raises(TraceError, match=r"bad\.csv"):
        read_observations(tmp_path / "bad.csv")


def test_an_artifact_folder_of_a_real_run() -> None:
    folder = Path(__file__).parents[3] / "shared" / "cases" / "files" / "aiperf_0_13_artifacts"
    if not folder.is_dir():
        pytest.skip("the shared cases are not here")
    readings = read_measurements([folder])
    assert [len(run.trace) for run in readings.runs] == [22]
    assert {Path(file).name for file, _ in readings.skipped} == {
        ".aiperf_results_ready.json", "profile_export_aiperf.csv", "profile_export_aiperf.json",
    }  # fmt: skip
    assert len(read_trace(folder / "profile_export.jsonl")) == 22
