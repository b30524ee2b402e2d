"""What a run states by halves or cannot contain is said."""

from __future__ import annotations

import pytest

from sim.analysis.closed_formula import formula_words
from sim.analysis.notes import too_short
from sim.analysis.summary import summarize
from sim.cli.compose import composed_scenario
from sim.errors import ConfigError
from sim.run import simulate

SHORT = ["workload.duration_s=60", "workload.rate_scale=1", "output.timeseries=false", "fleet.replicas=2"]


@pytest.mark.parametrize("half", [["fleet=spot"], ["fleet.market=spot"], ["fleet.pools={a: {market: spot}}"]])
def test_a_spot_price_without_evictions_is_refused_with_both_ways_out(half: list[str]) -> None:
    with pytest.raises(ConfigError, match=r"spot=aws.*spot\.price_only=true"):
        composed_scenario(half)
    assert composed_scenario([*half, "spot.price_only=true"]).spot.hazard is None
    assert composed_scenario([*half, "spot=aws"]).spot.hazard is not None


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (["fleet=spot", "spot=aws"], "evictions were to be expected"),
        (["spot=aws"], "no pool is on the spot market"),
        (["fleet.failures.gpu_mtbf_h=10000"], "hardware failures were to be expected"),
        (["autoscaler=tokens_in_flight"], "no nights"),
    ],
)
def test_a_run_too_short_for_what_it_prices_says_so(overrides: list[str], words: str) -> None:
    summary = summarize(simulate(composed_scenario([*SHORT, *overrides])))
    assert sum(words in note for note in summary["slo"]["notes"]) == 1


def test_a_plain_run_has_nothing_to_add() -> None:
    assert too_short(simulate(composed_scenario(SHORT))) == []


@pytest.mark.parametrize(
    ("preset", "formula", "with_30"),
    [("review_copilot_l40s", 0.28, 0.36), ("review_spiky_chat_a100", 1.39, 1.81), ("review_70b_8xh100", 22.22, 28.89)],
)
def test_a_review_shows_the_closed_formula_and_why_it_differs(preset: str, formula: float, with_30: float) -> None:
    scenario = composed_scenario([f"experiment={preset}", "workload.duration_s=40", "output.timeseries=false"])
    assert (scenario.fleet.replicas, scenario.search.solve) == (1, "load")
    summary = summarize(simulate(scenario))
    found = summary["closed_formula"]
    assert found["usd_per_1m_output_tokens"] == pytest.approx(formula, abs=0.005)
    assert found["usd_per_1m_output_tokens_with_on_top"] == pytest.approx(with_30, abs=0.006)
    assert "prompt tokens with every output token" in formula_words(found, summary)
    assert summarize(simulate(composed_scenario(SHORT)))["closed_formula"] is None
