"""Options side by side: the same figures as their own runs, a break-even that brute force agrees with."""

from __future__ import annotations

import io
from dataclasses import replace

import pytest
from rich.console import Console

from sim.analysis import month, summarize
from sim.analysis.economics import api_month
from sim.cli.compose import composed_scenario
from sim.cli.decide import decide_arguments, options_of
from sim.cost.prices import api_price
from sim.cost.sold_as import as_api
from sim.decision import BreakEven, Option, decide_options, find_break_evens, kind_of
from sim.decision.options import api_alone, api_options
from sim.decision.table import answer_words
from sim.errors import ConfigError
from sim.report.options import HEAD, option_cells, options_markdown, options_page, print_options
from sim.run import simulate
from sim.search import Answer, ScenarioEvaluator, fewest_replicas, solve
from sim.units import DAYS_PER_MONTH

SHORT = ["workload.duration_s=150", "workload.rate_scale=1", "output.timeseries=false"]


@pytest.fixture(scope="module")
def rows():
    base = composed_scenario([*SHORT, "cost=with_overhead"])
    hybrid = composed_scenario([*SHORT, "cost=with_overhead", "api=gpt_4o_mini", "gateway.hybrid={uncertain_fraction: 0.3}"])
    overwhelmed = composed_scenario([*SHORT, "slo.ttft_p95_s=0.001"])
    cannot = composed_scenario([*SHORT, "model=llama3_70b"])
    options = [Option("home", base), Option("hybrid", hybrid), Option("hopeless", overwhelmed), Option("too large", cannot)]
    return decide_options([*options, *api_options(base)[:2]])


def by_name(rows, name):
    return next(row for row in rows if row.name == name)


def test_each_option_shows_what_its_own_run_shows(rows) -> None:
    for row in rows:
        if row.answer is None:
            continue
        again = simulate(row.answer.scenario)
        assert row.usd_per_month == month(again).usd == summarize(again)["cost"]["window"]["usd_per_month"]
        assert row.as_dict()["usd_per_month"] == row.usd_per_month
    assert by_name(rows, "home").answer.solve == "replicas"


def test_an_option_that_misses_is_never_the_cheapest(rows) -> None:
    assert rows[0].holds
    missing = [row.holds for row in rows]
    assert missing == sorted(missing, reverse=True)
    assert by_name(rows, "hopeless").name not in answer_words(rows).split(";")[0]
    assert by_name(rows, "too large").reason and option_cells(by_name(rows, "too large"))[12] == "cannot run"


def test_kinds_and_shares(rows) -> None:
    assert {row.name: row.kind for row in rows if "API" not in row.name} == {
        "home": "self-hosted", "hybrid": "hybrid", "hopeless": "self-hosted", "too large": "self-hosted",
    }  # fmt: skip
    assert 0.2 < by_name(rows, "hybrid").as_dict()["escalated_fraction"] < 0.4
    api = next(row for row in rows if row.kind == "API")
    assert api.as_dict()["escalated_fraction"] == 1.0 and api.as_dict()["gpus_max"] == 0
    assert kind_of(replace(api.option.scenario)) == "API"


def test_page_terminal_and_markdown_print_the_same_cells(rows) -> None:
    html, text = options_page(rows, "t"), io.StringIO()
    print_options(rows, Console(file=text, width=200))
    for row in rows:
        cells = option_cells(row)
        assert len(cells) == len(HEAD)
        assert cells[2] in html and cells[2] in options_markdown(rows, "t") and cells[2] in text.getvalue()
    assert answer_words(rows)[:40] in html.replace("&#x27;", "'")


def break_even(answer: Answer, evaluate: ScenarioEvaluator, provider: str, model: str) -> BreakEven:
    """With a row of the price table, at the tokens of ``answer``."""
    api = as_api(api_price(provider, model))
    (found,) = find_break_evens(answer, evaluate, [(provider, api_month(answer.scenario, answer.summary, [api]))])
    return found


def home_usd(evaluate: ScenarioEvaluator, scale: float) -> float:
    found = fewest_replicas(evaluate, low=1, high=16, start=1, rate_scale=scale)
    return found.nearest.summary["cost"]["window"]["usd_per_month"]


PURCHASE = "cost.purchase={machine_usd: 90000, machine_gpus: 4, machine_w: 2500}"
STATIC = {
    "compute": [], "full": ["cost=full"], "h100": ["gpu=h100"], "a100": ["gpu=a100_80"], "overhead": ["cost=with_overhead"],
    "purchase": [PURCHASE], "prefix hits": ["engine.enable_prefix_caching=true"], "small batch": ["engine.max_num_seqs=64"],
}  # fmt: skip


@pytest.mark.parametrize("overrides", STATIC.values(), ids=STATIC)
def test_a_break_even_is_what_brute_force_finds(overrides) -> None:
    """Simulated and sized at volumes around it, home is dearer below it and stays cheaper above it."""
    scenario = composed_scenario([*SHORT, *overrides, "search.one_replica_load=false", "decide.most_replicas=16"])
    if overrides == ["cost=full"]:
        scenario = replace(scenario, cost=replace(scenario.cost, engineers_fte=0.01))
    evaluate = ScenarioEvaluator(scenario)
    answer = solve(scenario, "replicas", evaluate)
    found = break_even(answer, evaluate, "together", "meta-llama/Meta-Llama-3.1-8B-Instruct-Turbo")
    assert found.how == "simulated" and found.tokens_per_day is not None
    api = api_price("together", "meta-llama/Meta-Llama-3.1-8B-Instruct-Turbo")
    window, tokens = answer.summary["cost"]["window"], answer.summary["tokens"]
    per_token = (api.output_usd_per_1m + tokens["input"] / tokens["output"] * api.input_usd_per_1m) / 1e6
    either_way = window["either_way_usd_per_month"] / window["output_tokens_per_day"]
    brute = ScenarioEvaluator(scenario)
    for factor, dearer in ((0.98, True), (1.02, False), (1.6, False)):
        volume = found.tokens_per_day * factor
        scale = volume / window["output_tokens_per_day"] * answer.point.rate_scale
        api_usd = volume * (DAYS_PER_MONTH * per_token + either_way)
        assert (home_usd(brute, scale) > api_usd) == dearer
    assert found.spread is not None and found.flips


def test_never_is_told_with_its_reason() -> None:
    scenario = composed_scenario([*SHORT, "search.one_replica_load=false"])
    evaluate = ScenarioEvaluator(scenario)
    answer = solve(scenario, "replicas", evaluate)
    found = break_even(answer, evaluate, "novita", "meta-llama/llama-3.1-8b-instruct")
    assert found.tokens_per_day is None and found.why.startswith("never")
    most = most_load(ScenarioEvaluator(scenario), replicas=4)
    api, tokens = api_price("novita", "meta-llama/llama-3.1-8b-instruct"), most.summary["tokens"]
    there = api.output_usd_per_1m + tokens["input"] / tokens["output"] * api.input_usd_per_1m
    assert most.summary["cost"]["window"]["usd_per_1m_output_tokens"] > there, "filled to its SLO, home is still dearer"


def most_load(evaluate: ScenarioEvaluator, replicas: int):
    """The highest load, within a quarter, that ``replicas`` carry."""
    scale, held = 1.0, None
    while (point := evaluate(replicas=replicas, rate_scale=scale)).holds:
        held, scale = point, scale * 1.25
    return held


def test_a_fleet_that_scales_is_simulated_at_other_loads() -> None:
    scenario = composed_scenario(
        [*SHORT, "autoscaler=tokens_in_flight", "fleet.replicas=1", "fleet.max_replicas=8", "search.replications=1",
         "search.max_replications=1"]
    )  # fmt: skip
    evaluate = ScenarioEvaluator(scenario)
    answer = solve(scenario, "none", evaluate)
    found = break_even(answer, evaluate, "together", "meta-llama/Meta-Llama-3.1-8B-Instruct-Turbo")
    assert found.tokens_per_day is not None or found.why
    assert found.how == "simulated" or not answer.feasible


def test_an_api_alone_owns_no_machine() -> None:
    scenario = composed_scenario(SHORT)
    row = api_price("groq", "llama-3.1-8b-instant")
    result = simulate(api_alone(scenario, "groq", {"groq": as_api(row)}))
    summary = summarize(result)
    assert summary["requests"]["escalated"] == summary["requests"]["offered"]
    window = summary["cost"]["window"]
    listed = row.bill_usd(window["input_tokens_per_day"], window["output_tokens_per_day"]) * DAYS_PER_MONTH
    assert window["usd_per_month"] == pytest.approx(listed, rel=1e-9)
    assert summary["slo"]["notes"] == []


def test_options_are_overrides_on_top(tmp_path) -> None:
    base = [*SHORT, "gpu=h100", "decide.apis=false"]
    scenario = replace(
        composed_scenario(base), decide=replace(composed_scenario(base).decide, options={"a": "gpu=l40s fleet.replicas=2"})
    )
    (option,) = options_of(scenario, base)
    assert option.scenario.gpu.name == "l40s" and option.scenario.fleet.replicas == 2
    wrong = replace(scenario, decide=replace(scenario.decide, options={"b": "gpu=nonsense"}))
    with pytest.raises(ConfigError, match=r"decide\.options\.b"):
        options_of(wrong, base)


def test_an_option_may_be_called_anything() -> None:
    """Hydra's keys begin with a letter; names begin as their owner likes."""
    (_, argument, _) = decide_arguments(["fleet.replicas=1", "--option", "8B on 2 x L40S: fleet.replicas=2"])
    assert argument == "++decide.options._8B_on_2_x_L40S='fleet.replicas=2'"
    scenario = composed_scenario([*SHORT, argument, "decide.apis=false"])
    assert next(option.name for option in options_of(scenario, [*SHORT])) == "8B_on_2_x_L40S"


def test_the_preset_states_options_that_compose() -> None:
    scenario = composed_scenario(["experiment=decide", *SHORT])
    found = options_of(scenario, ["experiment=decide", *SHORT])
    assert [option.name for option in found[:5]] == ["l40s", "a100", "h100", "spot", "hybrid"]
    assert [option.kind for option in found[:5]] == ["self-hosted"] * 4 + ["hybrid"]
    assert {option.kind for option in found[5:]} == {"API"}
