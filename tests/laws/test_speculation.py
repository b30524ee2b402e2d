"""Laws of speculative decoding in the engine, on random small cases with a whole-number clock."""

from __future__ import annotations

import os
from random import Random
from typing import Any

import pytest

from sim.trust.conformance import Recording, first_difference
from tests.conformance.random_cases import random_case

METHODS: list[dict[str, Any]] = [
    {"method": "ngram"}, {"method": "eagle"}, {"method": "eagle3", "parallel_drafting": True}, {"method": "draft_model"},
    {"method": "mtp", "num_nextn_predict_layers": 3}, {"method": "eagle", "disable_lookahead_block_hashes": True},
    {"method": "draft_model", "parallel_drafting": True},
]  # fmt: skip
MAX_ROWS = 3000
DEEP = os.environ.get("HYPOTHESIS_PROFILE") == "deep"


def speculative_case(seed: int) -> dict[str, Any]:
    """A random case whose engine speculates; what can hardly fit is left out."""
    rng = Random(seed)
    case = random_case(seed)
    engine = case["engine"]
    drafts = rng.choice([1, 2, 3, 5])
    engine["speculative"] = {**rng.choice(METHODS), "num_speculative_tokens": drafts}
    if rng.random() < 0.25:
        engine["speculative"]["num_speculative_tokens_per_batch_size"] = [[1, 2, drafts], [4, 5, 1]]
    if rng.random() < 0.3:
        engine["max_loras"] = rng.randint(1, 2)
    usable = (engine["num_gpu_blocks"] - 1) * engine["block_size"]
    kept = []
    for row in case["requests"]:
        if sum(tokens for _, tokens in row["prompt"]) + row["output_len"] + 2 * drafts > usable:
            continue
        row["accept"] = [rng.randint(0, drafts) for _ in range(rng.randint(1, 6))]
        if rng.random() < 0.3:
            row["draft_len"] = [rng.randint(0, drafts) for _ in range(3)]
        row["lora"] = rng.randint(0, 3) if engine.get("max_loras") else 0
        kept.append(row)
    known = {f"out:{row['id']}" for row in kept}
    for row in kept:
        row["prompt"] = [piece for piece in row["prompt"] if not piece[0].startswith("out:") or piece[0] in known]
    case["requests"] = [row for row in kept if row["prompt"]]
    return case


@pytest.mark.parametrize("batch", range(4))
def test_tokens_and_blocks_are_conserved(batch: int) -> None:
    for seed in range(batch * 60, batch * 60 + 60):
        case = speculative_case(seed)
        recording = Recording(case, check_invariants=True)
        rows = recording.run(MAX_ROWS)
        if len(rows) == MAX_ROWS or recording.stalled:
            continue
        pool, longest = recording.scheduler.pool, case["engine"]["max_model_len"]
        assert pool.free == pool.usable, seed
        given: dict[str, int] = {}
        for row in rows:
            for name, tokens in row["tokens"]:
                given[name] = given.get(name, 0) + tokens
        for row in case["requests"]:
            if row["id"] in recording.rejected:
                continue
            length = sum(tokens for _, tokens in row["prompt"])
            assert given[row["id"]] == min(row["output_len"], longest - length), seed
            assert recording.answered[row["id"]].sampled == given[row["id"]], seed
        verified = sum(request.drafts.drafted for request in recording.submitted if request.drafts is not None)
        assert recording.scheduler.books.drafts is not None
        assert recording.scheduler.books.drafts.drafted == verified
        assert recording.replica.work.sampled_tokens == sum(given.values())


def test_one_pass_over_all_is_one_by_one() -> None:
    """Who is listed is served one by one, who is not in one pass, where order cannot matter."""
    compared = 0
    for seed in range(1500 if DEEP else 200):
        case = speculative_case(seed)
        case["requests"] = [row for row in case["requests"] if "arrival_ns" in row]
        listed, together = Recording(case), Recording(case, skip_decode=True)
        if len(listed.run(MAX_ROWS)) == MAX_ROWS or listed.stalled:
            continue
        together.run()
        for name, request in listed.answered.items():
            other = together.answered[name]
            assert (request.first_token_at, request.finished_at) == (other.first_token_at, other.finished_at), (seed, name)
            assert (request.preemptions, request.cached_tokens) == (other.preemptions, other.cached_tokens), (seed, name)
        assert listed.drafts() == together.drafts(), seed
        theirs, ours = listed.replica.work, together.replica.work
        assert (theirs.steps, theirs.prefill_tokens, theirs.sampled_tokens) == (
            ours.steps, ours.prefill_tokens, ours.sampled_tokens,
        ), seed  # fmt: skip
        assert theirs.seq_time == ours.seq_time, seed
        compared += bool(case["requests"])
    assert compared > 60


def test_no_drafts_are_no_speculation() -> None:
    for seed in range(100):
        case = random_case(seed)
        plain = Recording(case).run(MAX_ROWS)
        for method in METHODS:
            engine = {**case["engine"], "speculative": {**method, "num_speculative_tokens": 0}}
            assert first_difference(plain, Recording({**case, "engine": engine}).run(MAX_ROWS)) is None, seed


def roomy(drafts: int, accept: int, output: int, asynchronous: bool = False) -> dict[str, Any]:
    """Three requests that nothing holds back."""
    requests = [
        {"id": f"r{n}", "arrival_step": n, "prompt": [[f"u{n}", 20 + n]], "output_len": output + 3 * n, "accept": [accept]}
        for n in range(3)
    ]
    engine: dict[str, Any] = {"async_scheduling": asynchronous, "enable_prefix_caching": False}
    if drafts:
        engine["speculative"] = {"method": "eagle", "num_speculative_tokens": drafts}
    step_time = {"base_ns": 1000, "per_new_token_ns": 50, "per_context_token_ns": 1, "per_seq_ns": 25}
    return {"engine": engine, "step_time": step_time, "requests": requests}


@pytest.mark.parametrize("drafts", [1, 3, 7])
def test_all_rejected_is_the_same_sequence_at_dearer_steps(drafts: int) -> None:
    plain, rejected = Recording(roomy(0, 0, 30)).run(), Recording(roomy(drafts, 0, 30)).run()
    assert [row["sampled"] for row in plain] == [[name for name, _ in row["tokens"]] for row in rejected]
    assert all(tokens == 1 for row in rejected for _, tokens in row["tokens"])
    assert [row["finished"] for row in plain] == [row["finished"] for row in rejected]
    for before, after in zip(plain, rejected, strict=True):
        extra = 50 * drafts * sum(1 for _, _, computed in before["scheduled"] if computed)
        assert after["end_ns"] - after["start_ns"] == before["end_ns"] - before["start_ns"] + extra


@pytest.mark.parametrize("asynchronous", [False, True])
@pytest.mark.parametrize("drafts", [1, 3, 7])
def test_all_accepted_divides_the_steps(drafts: int, asynchronous: bool) -> None:
    rows = Recording(roomy(drafts, drafts, 30, asynchronous)).run()
    for number in range(3):
        name = f"r{number}"
        brought = [tokens for row in rows for one, tokens in row["tokens"] if one == name]
        output = 30 + 3 * number
        assert sum(brought) == output
        assert len(brought) == 1 + -(-(output - 1) // (drafts + 1))
        assert set(brought[1:-1]) <= {drafts + 1}


def test_a_running_request_holds_its_lookahead_slots() -> None:
    case = roomy(3, 0, 40)
    case["requests"] = case["requests"][:1]
    recording = Recording(case)
    free = recording.scheduler.pool.usable
    for row in recording.run():
        (_, tokens, before) = row["scheduled"][0]
        assert row["free_blocks"] == free - -(-(before + tokens + 3) // 16)
