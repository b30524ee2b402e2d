"""Where something is random, points are replicated; a plain replay is run once."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from sim.search import ScenarioEvaluator, solve
from sim.spec import parse_scenario
from tests.conftest import L40S, LLAMA3_8B

GENERATED = {
    "generator": {
        "arrivals": {"kind": "poisson", "rate_per_s": 6.0},
        "input_tokens": {"kind": "constant", "tokens": 300},
        "output_tokens": {"kind": "constant", "tokens": 60},
        "duration_s": 30.0,
    }
}
REPLAYED = {"packaged": "chat_synthetic.parquet", "duration_s": 30.0}


def evaluator(workload: dict[str, Any], **search: Any) -> ScenarioEvaluator:
    data = {"model": LLAMA3_8B, "gpu": L40S, "workload": workload, "slo": {"ttft_p95_s": 2.0}, "search": search}
    return ScenarioEvaluator(parse_scenario(data))


def test_a_plain_replay_is_run_once() -> None:
    evaluate = evaluator(REPLAYED)
    point = evaluate(replicas=2, rate_scale=1.0)
    assert not evaluate.random and evaluate.points == [point] and evaluate.fresh(point) == ()


def test_a_generated_workload_is_replicated_under_seeds_of_its_own() -> None:
    evaluate = evaluator(GENERATED)
    point = evaluate(replicas=2, rate_scale=1.0)
    assert evaluate.random
    assert [run.seed for run in evaluate.points] == [0, 1, 2]
    assert sorted(run.tightness for run in evaluate.points)[1] == point.tightness
    assert evaluate(replicas=2, rate_scale=1.0) is point and len(evaluate.points) == 3
    assert evaluate.whole_run(point)[1].scenario.seed == point.seed


def test_replications_that_disagree_get_more_work() -> None:
    evaluate = evaluator(GENERATED)
    evaluate(replicas=1, rate_scale=1.0)
    tightness = sorted(run.tightness for run in evaluate.points)
    limit = 2.0 * (tightness[0] + tightness[-1]) / 2  # some replications hold, some do not
    scenario = evaluate.scenario
    between = ScenarioEvaluator(replace(scenario, slo=replace(scenario.slo, ttft_p95_s=limit)))
    point = between(replicas=1, rate_scale=1.0)
    verdicts = [run.holds for run in between.points]
    assert len(set(verdicts[:3])) == 2 and 4 <= len(verdicts) <= 7
    assert max(verdicts.count(True), verdicts.count(False)) == 4  # of seven: the others could not change it
    assert point.holds is (verdicts.count(True) == 4)


def test_the_answer_is_run_again_on_fresh_seeds() -> None:
    evaluate = evaluator(GENERATED, max_replicas=4, one_replica_load=False)
    answer = solve(evaluate.scenario, "replicas", evaluate)
    searched = {run.seed for run in answer.points} - {run.seed for run in answer.fresh}
    assert len(answer.fresh) == 3 and searched == {0, 1, 2}
