"""Step times of ranks that step together and verify drafts, against those without."""

from __future__ import annotations

from dataclasses import replace

import pytest

from sim.cli.compose import composed_scenario
from sim.perf import memory_plan, resolve_engine, step_time_model
from sim.perf.rank_speculation import NOTHING, Carried, RankVerification
from sim.perf.rank_step import RankStepTime
from sim.perf.speculation import Proposing, Rows
from sim.perf.step_time import Verified
from sim.perf.verification import mean_step_time, verification_time
from sim.spec import EngineSpec

SCENARIO = composed_scenario(["experiment=expert_parallel", "speculative=mtp_deepseek_v3"])
MODEL, GPU = SCENARIO.model, SCENARIO.gpu
ENGINE = resolve_engine(SCENARIO.engine, MODEL, GPU)
RANKS = ENGINE.data_parallel_size


def verification(engine: EngineSpec = ENGINE) -> RankVerification:
    found = verification_time(MODEL, GPU, engine)
    assert isinstance(found, RankVerification)
    return found


def verifying(n: int, context: int = 2000, drafts: int = 1) -> Carried:
    return (), Verified(n, n * (1 + drafts), n * context, True)


def test_verifications_without_drafts_are_decodes() -> None:
    target = step_time_model(MODEL, GPU, ENGINE)
    assert isinstance(target, RankStepTime)
    bare = RankVerification(target, Rows(0.0, 0.0, 0.0, 0.0, 0.0), Proposing(0), None)
    for n in (1, 7, 64, 300):
        assert bare.verifying_s([verifying(n, drafts=0)] * RANKS) == pytest.approx(target.step((), n, n * 2000), rel=1e-12)
    assert bare.verifying_s([NOTHING] * RANKS) == pytest.approx(target.step((), 0, 0), rel=1e-12)


@pytest.mark.parametrize("n", [1, 32, 240])
def test_a_round_lasts_as_its_fullest_rank_needs_and_costs_less_than_two(n: int) -> None:
    time = verification()
    one = time.verifying_s([verifying(n), *[NOTHING] * (RANKS - 1)])
    everybody = time.verifying_s([verifying(n)] * RANKS)
    assert one <= everybody * (1 + 1e-12)  # all are padded to the fullest
    assert time.verifying_s([verifying(n), verifying(n + 8), *[NOTHING] * (RANKS - 2)]) >= one
    plain = time.target.step((), n, n * 2000)
    assert plain < everybody < 2 * plain
    assert time.verification((), verifying(n)[1]) == everybody


def test_a_prompt_anywhere_takes_all_ranks_out_of_the_graph() -> None:
    time = verification()
    with_row = time.verifying_s([(((1, 500),), None), *[verifying(8)] * (RANKS - 1)])
    assert with_row > time.verifying_s([verifying(8)] * RANKS)


def test_drafts_are_made_by_all_ranks_together() -> None:
    time = verification()
    round_s = time.verifying_s([verifying(8), *[NOTHING] * (RANKS - 1)])
    assert 0 < time.drafting_s * RANKS < 0.1 * round_s  # one layer of 62, and its all-to-all
    dense = replace(ENGINE, speculative=replace(ENGINE.speculative, method="eagle"))
    other = verification(dense)
    other.verifying_s([verifying(8), *[NOTHING] * (RANKS - 1)])
    assert 0 < other.drafting_s < time.drafting_s


def test_the_prediction_layer_lies_on_the_ranks_as_the_others_do() -> None:
    plain = memory_plan(MODEL, GPU, resolve_engine(replace(SCENARIO.engine, speculative=EngineSpec().speculative), MODEL, GPU))
    drafting = memory_plan(MODEL, GPU, ENGINE)
    layers = sum(group.count for group in MODEL.stack if group.feed_forward is not None and group.feed_forward.experts)
    assert drafting.weights_bytes_per_gpu == plain.weights_bytes_per_gpu
    assert drafting.draft_weights_bytes < 1.4 * plain.weights_bytes_per_gpu / layers
    assert drafting.kv_bytes_per_token_per_gpu == pytest.approx(plain.kv_bytes_per_token_per_gpu * 62 / 61)


def test_capacity_is_guessed_from_means() -> None:
    steps = mean_step_time(MODEL, GPU, ENGINE)
    assert steps.step((), 64, 64 * 2000) == pytest.approx(verification().verification((), verifying(64)[1]) / 1.875)
