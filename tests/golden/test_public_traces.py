"""The public traces' own figures, on the samples of them where a checkout has them beside it (heads of the files)."""

import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from sim.spec import WorkloadSpec
from sim.workload import load_workload, read_trace, trace_statistics
from sim.workload.fetch import cached

SAMPLES = Path(__file__).parents[2] / "../shared/traces"


def sample(path):
    if not (SAMPLES / path).exists():
        pytest.skip(f"no sample of the public trace at {SAMPLES / path}")
    return SAMPLES / path


def whole(name):
    path = cached(name)
    if path is None:
        pytest.skip(f"`servecap traces fetch {name}` has not been run")
    return path


def test_azure_conversation_sample():
    trace = read_trace(sample("azure2023/AzureLLMInferenceTrace_conv.csv"))
    assert len(trace) == 12_337
    assert trace.duration_s == pytest.approx(2100, abs=1)
    found = trace_statistics(trace)
    assert found["idc_1s"] == pytest.approx(1.35, abs=0.01)
    assert trace.output_tokens.min() == 7  # short answers were filtered
    assert trace.input_tokens.max() == 14_050


def test_azure_code_sample_is_silent_most_of_the_time():
    trace = read_trace(sample("azure2023/AzureLLMInferenceTrace_code.csv"))
    assert len(trace) == 6_621
    per_s = np.bincount(trace.arrival_s.astype(int))
    assert per_s.max() in (66, 67)  # the peak second, whichever way the seconds are cut
    assert (per_s == 0).mean() > 0.6


def test_importing_the_sample_takes_under_a_fifth_of_a_second():
    path = sample("azure2023/AzureLLMInferenceTrace_conv.csv")
    read_trace(path)  # module imports
    started = time.process_time()
    read_trace(path)
    assert time.process_time() - started < 0.2


@pytest.mark.parametrize(
    ("file", "rows", "ideal"),
    [("mooncake/synthetic_trace.jsonl", 2318, 0.37), ("mooncake/conversation_trace.jsonl", 5719, 0.341)],
)
def test_mooncake_samples(file, rows, ideal):
    trace = read_trace(sample(file))
    assert len(trace) == rows
    lengths = np.array([len(ids) for ids in trace.labels["block_hashes"]])
    assert np.array_equal(lengths, -(-trace.input_tokens // 512))
    assert trace_statistics(trace)["prefix_reuse"]["ideal"] == pytest.approx(ideal, abs=0.005)


def test_mooncake_conversation_is_quantised_and_becomes_smooth():
    path = sample("mooncake/conversation_trace.jsonl")
    raw = trace_statistics(read_trace(path))
    steps = ({"kind": "dequantise", "tick_s": 3.0},)
    smooth = trace_statistics(load_workload(WorkloadSpec(path=str(path), transforms=steps), 0))
    assert raw["idc_1s"] > 7
    assert smooth["idc_1s"] == pytest.approx(1.0, abs=0.1)
    assert smooth["prefix_reuse"]["ideal"] == pytest.approx(raw["prefix_reuse"]["ideal"], abs=1e-9)


@pytest.mark.parametrize(
    ("name", "ideal", "curve"),
    [
        ("mooncake_conversation", 0.366, (0.052, 0.195, 0.278, 0.353, 0.363)),
        ("mooncake_synthetic", 0.640, (0.034, 0.155, 0.260, 0.443, 0.589)),
    ],
)
def test_the_whole_mooncake_files_reuse_what_is_published(name, ideal, curve):
    found = trace_statistics(read_trace(whole(name)))["prefix_reuse"]
    assert found["ideal"] == pytest.approx(ideal, abs=0.0005)
    assert list(found["lru_by_share_of_unique_blocks"].values()) == pytest.approx(curve, abs=0.003)


def test_ragpulse_sample():
    trace = read_trace(sample("ragpulse/0_trace.jsonl"))
    assert len(trace) == 4_354
    assert (np.diff(trace.arrival_s) >= 0).all()
    found = trace_statistics(trace)
    assert 0.25 < found["prefix_reuse"]["ideal"] < 0.35  # the system prompt, not the passages
    assert found["spearman_input_output"] == pytest.approx(0.42, abs=0.03)


def test_burstgpt_vidur_agentic_and_servegen_samples():
    burst = read_trace(sample("burstgpt/BurstGPT_1.csv"))
    assert len(burst) + burst.provenance["dropped"]["request marked as failed"] == 54
    assert len(read_trace(sample("format-samples/vidur/splitwise_conv.csv"))) == 3000
    assert len(read_trace(sample("format-samples/llmservingsim/workload_me2_01_mixed.jsonl"))) == 608
    agents = trace_statistics(read_trace(sample("agentic-kv-cache-tester/traces"), session_rate_per_s=0.01))
    assert agents["sessions"]["sessions"] == 31
    assert agents["prefix_reuse"]["ideal"] > 0.9
    pool = read_trace(sample("servegen/data/reason/deepseek-r1"), until_s=3600.0)
    assert len({*pool.labels["tenant"]}) > 10


def test_a_file_larger_than_the_window_is_read_no_further_than_the_window(tmp_path):
    """A trace of 40 MB, cut to its first ten seconds, costs neither its time nor its memory."""
    path = tmp_path / "long.csv"
    block = "".join(f"{second}.{part:02d},100,10\n" for second in range(1000) for part in range(100))
    with path.open("w") as file:
        file.write("arrival_s,input_tokens,output_tokens\n" + block)
        for repeat in range(1, 25):
            file.write("".join(f"{1000 * repeat + n / 100},100,10\n" for n in range(100_000)))
    script = (
        "import resource, sys; from sim.workload import read_trace\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "n = len(read_trace(sys.argv[1], until_s=float(sys.argv[2])))\n"
        "print(n, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)\n"
    )
    found = subprocess.run(
        [sys.executable, "-c", script, str(path), "10"], capture_output=True, text=True, check=True
    ).stdout.split()
    assert int(found[0]) == 1001
    assert int(found[1]) * 1024 < path.stat().st_size
