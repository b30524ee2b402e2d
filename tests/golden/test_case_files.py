"""The inputs that real use threw at the readers of tables: what each gives. They lie outside; their shapes are tested in
``tests/unit/workload`` on files made there."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from sim.errors import TraceError
from sim.spec import WorkloadSpec
from sim.workload import load_workload, read_trace

MINE = {"arrival_s": "time", "input_tokens": "in", "output_tokens": "out"}


@pytest.mark.parametrize(
    ("file", "options", "requests", "note"),
    [
        ("native.jsonl", {}, 301, ""),
        ("native_epoch_seconds.csv", {}, 300, "arrival times are Unix seconds"),
        ("native_unsorted.csv", {"lenient": True}, 300, ""),
        ("semicolon.csv", {}, 300, ""),
        (
            "semicolon.csv",
            {"columns": {"arrival_s": "TIMESTAMP", "input_tokens": "ContextTokens", "output_tokens": "GeneratedTokens"}},
            300,
            "",
        ),
        ("us_dates.csv", {"columns": MINE}, 300, ""),
        ("us_dates.csv", {"columns": MINE, "time_format": "%m/%d/%Y %I:%M:%S %p"}, 300, ""),
        ("azure_300.csv.zst", {}, 300, ""),
        ("splitwise_sim_trace.csv", {}, 3, ""),
        ("mooncake_64_token_blocks.jsonl", {}, None, "blocks of 64 tokens"),
        ("mooncake_ticks_of_3s.jsonl", {}, None, "stand on a clock of 3 s"),
        ("mooncake_sessions_with_delay.jsonl", {}, None, "wait for the answer"),
    ],
)
def test_tables_of_ones_own(shared: Path, file: str, options: dict, requests: int | None, note: str) -> None:
    trace = load_workload(WorkloadSpec(path=str(shared / "cases/files" / file), **options), 0)
    assert requests is None or len(trace) == requests
    assert trace.arrival_s[0] == 0.0
    assert trace.duration_s < 5000
    assert any(note in one for one in trace.left_out()["notes"]) or not note


def test_the_same_requests_in_every_dress(shared: Path) -> None:
    folder = shared / "cases/files"
    native = read_trace(folder / "native.jsonl")
    others = [
        read_trace(folder / "native_epoch_seconds.csv"), read_trace(folder / "azure_300.csv.zst"),
        read_trace(folder / "semicolon.csv"),
    ]  # fmt: skip
    for other in others:
        assert other.arrival_s == pytest.approx(native.arrival_s[: len(other)], abs=1e-4)
        assert other.input_tokens.tolist() == native.input_tokens[: len(other)].tolist()
    dated = read_trace(folder / "us_dates.csv", columns=MINE)
    assert dated.arrival_s == pytest.approx(native.arrival_s[: len(dated)], abs=1.0)


@pytest.mark.parametrize(
    ("file", "message"),
    [
        ("unclosed_quote.csv", r"data row 10 \(line 11\): a quote opens"),
        ("trailing_quote_newline.csv", r"data row 2 \(line 3\): a quote opens"),
        ("dup_column.csv", "header: has column num_prefill_tokens more than once"),
        ("nan_json.jsonl", "line 2"),
        ("nul.csv", "line 1: holds a NUL byte"),
        ("priority_inf.csv", r"data row 1 \(line 2\): priority is 'inf'"),
        ("cr_only.csv", "line 1: has a bare carriage return"),
        ("deep.jsonl", "line 1: is no JSON"),
    ],
)
def test_attacks_are_refused_with_file_and_place(shared: Path, file: str, message: str) -> None:
    with pytest.raises(TraceError, match=message) as error:
        read_trace(shared / "cases/attack" / file)
    assert file in str(error.value)


def test_a_bomb_takes_no_memory(shared: Path) -> None:
    code = (
        "import sys\nfrom pathlib import Path\nfrom sim.workload import read_trace\nfrom sim.errors import TraceError\n"
        "try:\n    read_trace(sys.argv[1])\nexcept TraceError as error:\n    print('unpacks to' in str(error))\n"
        "print(Path('/proc/self/status').read_text().partition('VmHWM:')[2].split()[0])"  # maxrss would be the parent's, too
    )
    ended = subprocess.run(
        [sys.executable, "-c", code, str(shared / "cases/attack/bomb.parquet")], capture_output=True, text=True, check=True
    )
    refused, peak_kib = ended.stdout.split()
    assert refused == "True"
    assert int(peak_kib) < 600_000


def test_epoch_seconds_become_a_trace_of_two_seconds(shared: Path) -> None:
    trace = read_trace(shared / "cases/attack/epoch_seconds.csv")
    assert trace.arrival_s.tolist() == [0.0, 1.0, 2.0]
