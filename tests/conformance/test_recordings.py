"""Recordings of the real scheduler, replayed by the engine that simulations use: every field of every step."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from sim.engine.batch import Batch
from sim.engine.scheduler import Scheduler
from sim.errors import TraceError
from sim.trust.conformance import Recording, check_case, first_difference, main, read_case
from tests.conformance.naive_engine import NaiveEngine
from tests.conformance.random_cases import random_case

CASES = Path(__file__).resolve().parent / "cases"
"""Recorded for this project from vLLM 0.32.0 (0.33.0 gives the same rows; s[A-G]* are from 0.33.0), packed."""
NAMES = [
    "s01_plain", "s02_kv_pressure", "s03_chunked_long", "s04_multi_turn", "s05_priority_kv", "s06_burst_seqs_budget",
    "s07_async_kv", "s08_limits_watermark", "sA1_eagle_plain", "sA2_ngram_chunked", "sA3_mtp_kv_pressure",
    "sA4_eagle_multi_turn", "sA5_eagle_async_kv", "sA6_limits_dynamic", "sA7_mtp_modules", "sB1_one_slot",
    "sB2_prefix_key", "sB3_priority_kv", "sB4_async", "sC1_decode_side", "sC2_kv_pressure", "sC3_prefix_and_ask_later",
    "sC4_failures_recompute", "sC5_async_spec", "sC6_failures_fail", "sC7_slow_link", "sD1_lease", "sD2_pinned_pressure",
    "sD3_both_roles", "sD4_async_producer", "sE1_multi_turn", "sE2_lru_evict", "sE3_slow_stores", "sE4_preemption",
    "sE5_whole_hits", "sG1_full_and_window", "sG2_window_hits", "sG3_pressure_dense", "sG4_async",
    "sG5_mamba_slots",
]  # fmt: skip


def write_case(folder: Path, case: dict[str, Any], rows: list[dict[str, Any]], **meta: Any) -> Path:
    folder.mkdir()
    (folder / "case.json").write_text(json.dumps(case))
    (folder / "steps.jsonl.gz").write_bytes(gzip.compress("\n".join(json.dumps(row) for row in rows).encode()))
    if meta:
        (folder / "meta.json").write_text(json.dumps(meta))
    return folder


@pytest.mark.parametrize("name", NAMES)
def test_every_step_is_identical(name: str) -> None:
    assert check_case(CASES / name) == (None, False)


@pytest.mark.parametrize("name", NAMES)
def test_skipping_gives_the_recorded_requests(name: str) -> None:
    folder = CASES / name
    case, _ = read_case(folder)
    recording = Recording(case, skip_decode=True)
    recording.run()
    recorded = [json.loads(line) for line in gzip.decompress((folder / "requests.jsonl.gz").read_bytes()).splitlines()]
    for row in recorded:
        if row["finish_ns"] is None:
            assert row["id"] in recording.rejected
            continue
        if row.get("finish_reason") == "error":
            assert recording.failed_at[row["id"]] == row["finish_ns"]
            continue
        ours = recording.answered[row["id"]]
        assert (ours.first_token_at, ours.finished_at, ours.cached_tokens, ours.preemptions, ours.sampled) == (
            row["first_token_ns"],
            row["finish_ns"],
            row["cached_tokens"],
            row["preemptions"],
            row["generated"],
        )


@pytest.mark.parametrize("skip", [False, True])
@pytest.mark.parametrize("name", NAMES)
def test_nanoseconds_stay_exact_in_a_float(name: str, skip: bool) -> None:
    """The engine's one type of time is a float: every whole number that a recording makes of one must be below 2^53."""
    case, _ = read_case(CASES / name)
    recording = Recording(case, skip_decode=skip)
    largest = 0.0
    noted = recording.closed

    def watch(name: str, step: int, scheduler: Scheduler, batch: Batch) -> None:
        nonlocal largest
        growth = batch.duration_of(1) - batch.first
        largest = max(largest, batch.end, batch.steps * batch.first, growth * batch.steps * (batch.steps - 1))
        assert batch.end == int(batch.end)
        noted(name, step, scheduler, batch)

    recording.closed = watch  # type: ignore[method-assign]
    recording.run(5000)
    assert 0 < largest < 2.0**53


def test_packed_steps_are_read_and_the_last_line_counts(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    case = random_case(5)
    rows = NaiveEngine(case).run()
    good = write_case(tmp_path / "good", case, rows)
    rows[3]["free_blocks"] += 1
    bad = write_case(tmp_path / "bad", case, rows)
    assert main([str(good)]) == 0
    assert main([str(good), str(bad)]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[1] == "1 of 1 identical"
    assert lines[3].startswith("bad: step 3, free_blocks: recorded")
    assert lines[-1] == "1 of 2 identical"


def test_missing_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(TraceError, match=r"case\.json"):
        read_case(tmp_path)
    (tmp_path / "case.json").write_text("{}")
    with pytest.raises(TraceError, match=r"steps\.jsonl\.gz"):
        read_case(tmp_path)


def blocked_case(**engine: Any) -> dict[str, Any]:
    """The second request can never fit into 7 blocks of 16 tokens."""
    return {
        "engine": {"num_gpu_blocks": 8, "max_num_batched_tokens": 128, "max_model_len": 400, **engine},
        "step_time": {"base_ns": 1000, "per_new_token_ns": 1, "per_context_token_ns": 0, "per_seq_ns": 0},
        "requests": [
            {"id": "a", "arrival_ns": 0, "prompt": [["a", 20]], "output_len": 3},
            {"id": "b", "arrival_ns": 0, "prompt": [["b", 150]], "output_len": 3},
            {"id": "c", "arrival_ns": 0, "prompt": [["c", 20]], "output_len": 3},
        ],
    }


def test_a_request_that_can_never_fit_blocks_the_queue(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    case = blocked_case()
    rows = NaiveEngine(case).run()
    assert rows[-1]["finished"] == ["a"]
    folder = write_case(tmp_path / "blocked", case, rows, stalled=True)
    assert main([str(folder)]) == 0
    assert "blocked: identical; stalled" in capsys.readouterr().out


def test_a_stall_that_was_not_recorded_is_a_difference(tmp_path: Path) -> None:
    case = blocked_case()
    folder = write_case(tmp_path / "case", case, NaiveEngine(case).run(), stalled=False)
    assert check_case(folder) == ("recorded stalled=false, ours true", True)


def test_without_the_full_prompt_check_it_is_preempted_for_ever(tmp_path: Path) -> None:
    options = {"scheduler_reserve_full_isl": False, "max_num_batched_tokens": 100, "max_num_seqs": 4}
    case = blocked_case(enable_prefix_caching=False, **options)
    rows = NaiveEngine(case).run(50)
    assert len(rows) == 50
    folder = write_case(tmp_path / "case", case, rows)
    assert first_difference(rows[:-1], Recording(case).run(50)[:-1]) is None
    assert check_case(folder).stalled
