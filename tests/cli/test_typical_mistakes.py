"""Typical mistakes: each ends with one message that names the next step."""

from __future__ import annotations

from pathlib import Path

import pytest

TRACE = "arrival_s,input_tokens,output_tokens\n0,100,20\n0.5,100,20\n1,80,10\n"

MISTAKES = [
    # typos
    (["sise"], ["sise", "did you mean size?", "--help"]),
    (["run", "gpu=H100"], ["H100", "did you mean h100?"]),
    (["run", "model=llama-3.1-8b"], ["did you mean llama3_8b"]),
    (["run", "experiment=hybrd"], ["did you mean hybrid?"]),
    (["run", "engine.max_seqs=4"], ["engine.max_seqs", "did you mean max_num_seqs?"]),
    (["run", "slo.ttft_p95=1"], ["did you mean ttft_p95_s"]),
    (["run", "--slo-tft-p95", "1"], ["--slo-tft-p95", "did you mean --slo-ttft-p95"]),
    (["run", "-gpu", "h100"], ["two dashes: --gpu"]),
    (["run", "--trace", "mine.cvs"], ["mine.cvs", "did you mean mine.csv?"]),
    (["traces", "stats", "min.csv"], ["min.csv", "did you mean mine.csv?"]),
    (["explain", "engine.max_seqs"], ["did you mean max_num_seqs?"]),
    (["keys", "zzzz"], ["zzzz", "`servecap keys` lists all"]),
    (["traces", "stat", "mine.csv"], ["stat", "stats"]),
    # quoting and spaces
    (["run", "gpu", "=", "h100"], ["no spaces stand around the ="]),
    (["run", "slo.ttft_p95_s = 1"], ["no spaces stand around the =", "write slo.ttft_p95_s=1"]),
    (["run", "gpu=h100 fleet.replicas=2"], ["one pair of quotes", "gpu=h100 fleet.replicas=2"]),
    (["sweep", "gpu=h100,", "l40s"], ["a list of a sweep has no spaces"]),
    (["sweep", "gpu=h100", "l40s"], ["a preset needs its group: gpu=l40s"]),
    (["run", "gateway.users={kind: closed"], ["gateway.users", "quote"]),
    (["decide", "--option", "h100"], ['expected "NAME: overrides"', "h100"]),
    # a sweep without -m
    (["run", "gpu=h100,l40s"], ["several values are a sweep", "servecap sweep gpu=h100,l40s", "-m"]),
    (["run", "engine.max_num_seqs=8,16"], ["engine.max_num_seqs=8,16: several", "is quoted: \"engine.max_num_seqs='8,16'\""]),
    (["run", "--max-num-seqs", "64,128"], ["servecap sweep engine.max_num_seqs=64,128"]),
    (["capacity", "fleet.replicas=1,2"], ["several values are a sweep", "-m"]),
    (["run", "slo.ttft_p95_s=1,5"], ["several values are a sweep"]),
    # wrong units
    (["size", "--slo-ttft-p95", "500ms"], ["a number in s", "500ms", "write slo.ttft_p95_s=0.5"]),
    (["run", "slo.ttft_p95_s=1s"], ["write slo.ttft_p95_s=1"]),
    (["run", "workload.duration_s=15min"], ["write workload.duration_s=900"]),
    (["run", "engine.gpu_memory_utilization=92%"], ["write engine.gpu_memory_utilization=0.92"]),
    (["run", "engine.gpu_memory_utilization=92"], ["engine.gpu_memory_utilization", "92", "less than or equal to 1"]),
    (["run", "workload.rate_scale=2x"], ["write workload.rate_scale=2"]),
    (["run", "--tokens-per-day", "100M"], ["write workload.tokens_per_day=100000000"]),
    (["run", "gpu.memory_gib=80GiB"], ["write gpu.memory_gib=80"]),
    (["run", "fleet.replicas=1.5"], ["fleet.replicas", "1.5", "integer"]),
    (["run", "--replicas", "two"], ["fleet.replicas", "two", "integer"]),
    # what belongs elsewhere
    (["mine.csv"], ["--trace mine.csv"]),
    (["size", "h100"], ["gpu=h100"]),
    (["run", "replicas=3"], ["did you mean fleet.replicas"]),
    (["run", "max_num_seqs=64"], ["did you mean engine.max_num_seqs"]),
    (["run", "model=meta-llama/Llama-3.1-8B"], ["did you mean llama3_8b", "model.hf_config=PATH"]),
    (["run", "workload=mine.csv"], ["mine.csv", "workload.path=mine.csv"]),
    (["run", "engine.swap_space=4"], ["swap_space", "not modelled"]),
    (["run", "workload=azure_conv_2023"], ["workload.path=FILE", "servecap traces fetch azure_conv_2023"]),
    (["run", "--rate-per-s", "1", "--rate-scale", "2"], ["both state the load", "leave one"]),
    (["run", "--gpu", "h100", "--gpu", "l40s"], ["twice", "--gpu A,B"]),
    (["run", "--gpu", "h100", "gpu=l40s"], ["gpu is stated twice", "gpu=l40s", "gpu=h100", "once"]),
    (["size", "++workload.rate_per_s=2", "--rate-per-s=3"], ["workload.rate_per_s is stated twice"]),
    (["run", "--slo-ttft-p95"], ["expected a value", "e.g. --slo-ttft-p95 1"]),
    # folders, sides, lines
    (["report", ".", "--start", "5"], ["--start", "--prometheus"]),
    (["report", ".", "--json", "--prometheus", "-"], ["standard output holds one"]),
    (["report", "nowhere"], ["nowhere: no such folder", "outputs/"]),
    (["compare", "gpu=h100"], ["two or more"]),
    (["compare", "a", "b"], ["neither a run folder nor overrides"]),
    (["run", "--config-dir", "nowhere"], ["nowhere", "no such folder"]),
    (["run", "--vllm", "vllm serve"], ["expected a model"]),
    (["run", "--out"], ["--out", "e.g. --out"]),
    (["calc", "--tokens-per-s"], ["--tokens-per-s", "expected one argument"]),
    # what cannot be
    (["run", "model=llama3_70b"], ["does not fit", "engine.tensor_parallel_size"]),
    (["run", "--tp", "3"], ["must divide the 32 attention heads"]),
    (["run", "--trace", "mine.csv", "workload.start_s=9"], ["holds no request", "0 to 1 s"]),
    (["run", "workload.limit=0"], ["workload.limit", "1", "but got 0"]),
]


@pytest.mark.parametrize(("line", "words"), [pytest.param(*one, id=" ".join(one[0])) for one in MISTAKES])
def test_a_typical_mistake_is_told_with_the_next_step(servecap, tmp_path: Path, line: list[str], words: list[str]) -> None:
    (tmp_path / "mine.csv").write_text(TRACE)
    ended = servecap(*line)
    assert ended.code == 2, ended.out
    for word in words:
        assert word in ended.message
    assert ended.message.count("servecap: ") + ended.message.count("error: ") <= 1
    assert not (tmp_path / "outputs").is_dir() or not list((tmp_path / "outputs").rglob("summary.json"))


def test_an_slo_that_nothing_can_meet_ends_with_three_and_the_nearest_miss(servecap, tmp_path: Path) -> None:
    (tmp_path / "mine.csv").write_text(TRACE)
    ended = servecap(
        "size", "--trace", "mine.csv", "--slo-ttft-p95", "0.0001", "--max-num-seqs", "8,16", "--launcher", "basic"
    )
    assert ended.code == 3
    assert "nearest miss" in ended.out + ended.err
    assert "no number of replicas meets it" in ended.out + ended.err
