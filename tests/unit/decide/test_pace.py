"""Options at one pace: months are compared of the same traffic, or it is said that they are not."""

from __future__ import annotations

import pytest

from sim.cli.compose import composed_scenario
from sim.cli.decide import _words
from sim.decision import Option, decide_options
from sim.decision.options import api_options
from sim.decision.table import pace_words
from sim.report.options import options_markdown, options_page
from sim.search import solve

TINY = ["workload.rate_scale=1", "output.timeseries=false", "search.replications=1", "fleet.replicas=1", "workload.limit=3"]


def test_a_burst_whose_months_differ_says_so() -> None:
    scenario = composed_scenario(TINY)
    rows = decide_options([Option("home", scenario), *api_options(scenario)[:1]])
    told = pace_words(rows)
    assert "different numbers of requests" in told
    assert told in options_page(rows, "t").replace("&#39;", "'") and told in options_markdown(rows, "t")


def test_a_trace_that_can_be_repeated_has_one_pace() -> None:
    scenario = composed_scenario([*TINY, "workload.limit=null", "workload.duration_s=60"])
    rows = decide_options([Option("home", scenario), *api_options(scenario)[:1]])
    assert pace_words(rows) == ""


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("gpu=l40s fleet.replicas=2", ["gpu=l40s", "fleet.replicas=2"]),
        ("api=x gateway.hybrid={uncertain_fraction: 0.2} seed=1", ["api=x", "gateway.hybrid={uncertain_fraction: 0.2}", "seed=1"]),
        ("fleet.zones=[a, b]", ["fleet.zones=[a, b]"]),
        ("'a=b c' d=e", ["a=b c", "d=e"]),
    ],
)
def test_blanks_within_brackets_do_not_split_an_option(text, words) -> None:
    assert _words(text) == words


def test_ten_requests_are_not_asked_what_load_a_replica_carries() -> None:
    """They fit one batch at any load: 27 points up to 10,000 times the trace, composed whole for each."""
    scenario = composed_scenario(["workload.limit=10", "workload.duration_s=20", "output.timeseries=false"])
    answer = solve(scenario, "replicas")
    assert answer.point.holds and answer.point.replicas == 1
    assert len(answer.points) < 8
