"""Clock ticks and block sizes are found in the file, said, or asked for."""

import json

import numpy as np
import pytest

from sim.errors import TraceError
from sim.spec import WorkloadSpec
from sim.workload import load_workload, read_trace
from sim.workload.ticks import coarse_tick_s


def mooncake(tmp_path, rows):
    path = tmp_path / "m.jsonl"
    names = ("timestamp", "input_length", "output_length", "hash_ids")
    path.write_text("".join(json.dumps(dict(zip(names, row, strict=True))) + "\n" for row in rows))
    return path


@pytest.mark.parametrize("tick_s", [0.1, 0.5, 1.0, 3.0, 60.0])
@pytest.mark.parametrize("from_s", [0.0, 0.4])
def test_a_shared_tick_is_found(tick_s, from_s):
    rng = np.random.default_rng(3)
    fine = np.cumsum(rng.exponential(tick_s / 4, 4000))
    assert coarse_tick_s(fine) is None
    assert coarse_tick_s(np.floor(fine / tick_s) * tick_s + from_s) == pytest.approx(tick_s)


def test_ticks_that_no_request_shares_are_no_matter():
    assert coarse_tick_s(np.arange(1000.0)) is None
    assert coarse_tick_s(np.repeat(np.arange(1000) / 1000, 3)) is None
    assert coarse_tick_s(np.zeros(5)) is None


def test_a_run_is_told_of_ticks_and_may_spread_them(tmp_path):
    rng = np.random.default_rng(5)
    times = np.floor(np.cumsum(rng.exponential(0.4, 900)) / 3).astype(int) * 3000
    path = str(mooncake(tmp_path, [(int(time), 600, 5, [0, 1]) for time in times]))
    told = load_workload(WorkloadSpec(path=path), 0)
    assert any("stand on a clock of 3 s" in note and "dequantise_s=3" in note for note in told.left_out()["notes"])
    spread = load_workload(WorkloadSpec(path=path, dequantise_s=3.0), 0)
    assert spread.left_out()["notes"] == []
    assert len(np.unique(spread.arrival_s)) == 900
    assert np.bincount(spread.arrival_s.astype(int)).max() < np.bincount(told.arrival_s.astype(int)).max()
    wrong = load_workload(WorkloadSpec(path=path, dequantise_s=7.0), 0)
    assert any("dequantise_s=7 changed nothing" in note for note in wrong.left_out()["notes"])


@pytest.mark.parametrize("size", [512, 64, 16, 128])
@pytest.mark.parametrize("partial", [True, False])
def test_the_block_size_is_what_the_lengths_say(tmp_path, size, partial):
    rng = np.random.default_rng(size)
    rows = []
    for number, tokens in enumerate(rng.integers(1, 20_000, 200).tolist()):
        rows.append((number * 1000, tokens, 5, list(range(-(-tokens // size) if partial else tokens // size))))
    trace = read_trace(mooncake(tmp_path, rows))
    assert trace.block_tokens == size
    assert bool(trace.left_out()["notes"]) == (size != 512)


def test_a_block_size_that_nobody_can_tell_is_asked_for(tmp_path):
    path = mooncake(tmp_path, [(0, 1000, 5, [0, 1, 2]), (1000, 10_000, 5, [0, 1]), (2000, 90, 5, list(range(80)))])
    with pytest.raises(TraceError, match=r"do not tell the block size .* say workload\.block_tokens"):
        read_trace(path)
    assert (
        load_workload(WorkloadSpec(path=str(mooncake(tmp_path, [(0, 600, 5, [0, 1])])), block_tokens=400), 0).block_tokens
        == 400
    )


def test_a_size_near_the_true_one_is_not_taken_for_it(tmp_path):
    rows = [(number * 500, 600 + 7 * number, 10, list(range(-(-(600 + 7 * number) // 300)))) for number in range(20)]
    with pytest.raises(TraceError, match=r"do not tell the block size"):
        read_trace(mooncake(tmp_path, rows))


def test_stamps_that_look_like_seconds_are_said(tmp_path):
    seconds = read_trace(mooncake(tmp_path, [(number / 2, 1000, 10, [1, 2]) for number in range(5)]))
    assert "the first 5 requests arrive within 2 ms; if it counts seconds" in seconds.left_out()["notes"][0]
    assert not read_trace(mooncake(tmp_path, [(number * 500.5, 1000, 10, [1, 2]) for number in range(5)])).left_out()[
        "notes"
    ]


def test_a_negative_delay_is_none(tmp_path):
    path = tmp_path / "turns.jsonl"
    turn = {"session_id": "a", "input_length": 1000, "output_length": 10, "hash_ids": [1, 2]}
    path.write_text("".join(json.dumps(turn | more) + "\n" for more in ({"timestamp": 0}, {"delay": -5})))
    with pytest.raises(TraceError, match=r"line 2: timestamp or delay is no time in ms from 0 up \(delay -5\)"):
        read_trace(path)
