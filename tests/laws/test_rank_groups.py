"""Laws of servers with several ranks, over whole runs."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from sim.analysis.laws import violations
from sim.cli.compose import composed_scenario
from sim.record import Result
from sim.run import simulate

DENSE = ["gpu=h100", "workload.limit=300", "check_invariants=true", "fleet.replicas=1"]
MIXTURE = [*DENSE, "model=qwen3_30b_a3b", "engine.enable_expert_parallel=true"]


def run(base: Sequence[str], *overrides: str) -> Result:
    return simulate(composed_scenario([*base, *overrides]))


def ranks(count: int) -> str:
    return f"engine.data_parallel_size={count}"


@pytest.mark.parametrize("base", [MIXTURE, DENSE], ids=["mixture", "dense"])
def test_one_rank_is_today_s_run_and_a_server_counts_all_its_gpus(base: list[str]) -> None:
    base = [one for one in base if "expert" not in one]
    plain, one, four = run(base), run(base, ranks(1)), run(base, ranks(4))
    assert one.requests.equals(plain.requests)
    assert one.replicas.equals(plain.replicas)
    assert (one.kernel_events, one.engine_steps) == (plain.kernel_events, plain.engine_steps)
    assert four.replicas["gpus"].tolist() == [4]
    assert four.replicas["kv_blocks"].tolist() >= [4 * plain.replicas["kv_blocks"][0]]
    assert not violations(four)


def test_skipping_changes_nothing() -> None:
    overrides = ["workload.rate_scale=0.2", ranks(4), "check_invariants=false"]
    skipped, stepped = run(MIXTURE, *overrides), run(MIXTURE, *overrides, "engine.skip_decode=false")
    for column in ("first_token_s", "finish_s"):
        np.testing.assert_allclose(skipped.requests[column], stepped.requests[column], atol=1e-9)
    assert skipped.kernel_events < 0.6 * stepped.kernel_events
    assert abs(skipped.engine_steps - stepped.engine_steps) <= 2  # rounds under way at the end


def test_dense_ranks_serve_as_replicas_do() -> None:
    """No coupling: the steps of a server's ranks are those of as many replicas, up to who gets which request."""
    four, apart = run(DENSE, ranks(4)), run(DENSE, "fleet.replicas=4")
    assert four.requests["tpot_s"].median() == pytest.approx(apart.requests["tpot_s"].median(), rel=0.1)
    assert int(four.replicas["output_tokens"].sum()) == int(apart.replicas["output_tokens"].sum())
    assert four.ranks is not None
    assert not four.ranks["dummy_steps"].any()
    assert four.ranks["steps"].nunique() > 1


def test_dummy_forwards_are_counted_and_paid() -> None:
    result = run(MIXTURE, ranks(4), "workload.rate_scale=0.02", "workload.limit=60")
    found, server = result.ranks, result.replicas.iloc[0]
    assert found is not None
    assert (found["steps"] + found["dummy_steps"] == server["engine_steps"]).all()
    assert (found["busy_s"] + found["dummy_s"]).tolist() == pytest.approx([server["busy_s"]] * 4)
    assert found["dummy_steps"].sum() > found["steps"].sum()  # a lone request keeps three others busy
    assert int(found["output_tokens"].sum()) == server["output_tokens"]


def test_a_rank_s_death_is_the_server_s() -> None:
    loss = "timeline=[{kind: replica_loss, at_s: 3, pool: main}]"
    result = run(MIXTURE, ranks(4), loss, "gateway.retries={kind: backoff, max_attempts: 3}")
    lost = [event for event in result.events if event["event"] == "lost"]
    assert len(lost) == 1
    assert lost[0]["requests"] > 0
    assert not violations(result)


def test_requests_are_spread_evenly_over_ranks() -> None:
    for base in (MIXTURE, DENSE):
        found = run(base, ranks(4), "workload.limit=800").ranks
        assert found is not None
        assert found["output_tokens"].max() < 1.3 * found["output_tokens"].min()


MTP = ["engine.speculative.method=mtp", "engine.speculative.num_speculative_tokens=1", "engine.speculative.acceptance.rates=[0.8]"]


def test_no_drafts_are_the_ranks_of_before() -> None:
    few = [ranks(2), "workload.limit=60"]
    plain, none = run(MIXTURE, *few), run(MIXTURE, *few, "engine.speculative.num_speculative_tokens=0")
    assert none.requests.equals(plain.requests)
    assert (none.kernel_events, none.engine_steps) == (plain.kernel_events, plain.engine_steps)


def test_ranks_that_speculate_keep_the_books() -> None:
    """Tokens are conserved, nobody gets one too many, dummies are counted and paid, every forward drafts."""
    overrides = [ranks(4), *MTP, "workload.limit=120", "workload.rate_scale=0.2"]
    drafted, plain = run(MIXTURE, *overrides), run(MIXTURE, ranks(4), *overrides[-2:])
    assert not violations(drafted)
    assert drafted.requests["output_tokens"].equals(plain.requests["output_tokens"])
    found, server, features = drafted.ranks, drafted.replicas.iloc[0], drafted.features
    assert found is not None and features is not None
    assert (found["steps"] + found["dummy_steps"] == server["engine_steps"]).all()
    assert (found["busy_s"] + found["dummy_s"]).tolist() == pytest.approx([server["busy_s"]] * 4)
    assert int(found["output_tokens"].sum()) == server["output_tokens"] == int(drafted.requests["output_tokens"].sum())
    assert features["accepted_tokens"][0] / features["drafted_tokens"][0] == pytest.approx(0.8, abs=0.02)
    assert 0 < features["drafting_s"][0] < 0.2 * server["busy_s"]
    assert drafted.requests["tpot_s"].median() < 0.8 * plain.requests["tpot_s"].median()
    stepped = run(MIXTURE, *overrides, "check_invariants=false", "engine.skip_decode=false")
    for column in ("first_token_s", "finish_s"):
        np.testing.assert_allclose(drafted.requests[column], stepped.requests[column], atol=1e-9)


def test_adapters_of_attention_on_ranks_hold_up_all() -> None:
    lora = ["engine.max_loras=2", "engine.lora.modules=attention", "workload.transforms=[{kind: adapters, count: 6}]"]
    overrides = [ranks(2), "workload.limit=80", "workload.rate_scale=0.2"]
    adapted, plain = run(MIXTURE, *overrides, *lora), run(MIXTURE, *overrides)
    assert not violations(adapted)
    assert adapted.features is not None
    assert adapted.features["adapter_slot_loads"][0] >= 6 and adapted.features["adapter_wait_s"][0] > 0
    assert adapted.replicas["busy_s"][0] > plain.replicas["busy_s"][0]
