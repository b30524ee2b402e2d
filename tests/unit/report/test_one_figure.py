"""One function owns each figure: page, terminal, Markdown, files and ``decide`` show the same dollars, in twelve scenarios."""

from __future__ import annotations

import io
import re

import pytest
from rich.console import Console

from sim.analysis import month, price, summarize
from sim.cli.compose import composed_scenario
from sim.decide import Option, decide_options
from sim.decide.options import has_machines
from sim.report import print_run_summary, run_markdown
from sim.report.first_screen import dollar_words
from sim.report.fleet_sizes import monthly_fleets
from sim.report.options import option_cells
from sim.report.run_page import run_page
from sim.report.scale import usd
from sim.search import solve

SHORT = ["workload.duration_s=60", "workload.rate_scale=1", "output.timeseries=false", "search.replications=1"]
SCENARIOS: dict[str, tuple[list[str], int]] = {
    "default": ([], 40),
    "two l40s": (["fleet.replicas=2"], 40),
    "70b at a fifth": (["model=llama3_70b", "gpu=h100", "engine.tensor_parallel_size=8", "fleet.replicas=1"], 35),
    "spot and autoscaler": (["fleet=spot", "spot=aws", "autoscaler=tokens_in_flight"], 40),
    "hybrid": (["fleet.replicas=2", "api=gpt_4o_mini", "gateway.hybrid={uncertain_fraction: 0.2}"], 40),
    "cost=full": (["cost=full", "fleet.replicas=2"], 40),
    "longer, with nights": (["workload.duration_s=120", "autoscaler=requests_in_flight", "fleet.replicas=1"], 40),
    "API only": (["fleet.replicas=0", "api=gpt_4o_mini", "gateway.hybrid={api_first: true}"], 30),
    "two models": (["fleet.pools={big: {replicas: 1, engine: {tensor_parallel_size: 2}}, small: {replicas: 1}}"], 40),
    "purchase": (["cost.purchase={machine_usd: 90000, machine_gpus: 4, machine_w: 2500}", "fleet.replicas=3"], 40),
    "commitment": (["cost.commitment={gpus: 4, years: 3}", "fleet.replicas=2"], 40),
    "prefix hits": (["fleet.replicas=2", "engine.enable_prefix_caching=true"], 40),
    "a model nobody sells": (["model=mistral_nemo_12b", "engine.max_model_len=32768", "fleet.replicas=2"], 10),
}
"""Overrides, and the fewest dollar figures that its page holds: none is gained by hiding one."""


@pytest.mark.parametrize("name", SCENARIOS)
def test_a_figure_is_the_same_wherever_it_stands(name: str) -> None:
    overrides, fewest = SCENARIOS[name]
    scenario = composed_scenario([*SHORT, *overrides])
    answer = solve(scenario, "none")
    result, summary, tree = answer.result, answer.summary, price(answer.result)
    window = summary["cost"]["window"]
    assert month(result).usd == window["usd_per_month"]
    page, text = run_page(result, summary, tree), io.StringIO()
    print_run_summary(summary, Console(file=text, width=300))
    monthly = usd(window["usd_per_month"])
    assert page.count(monthly) >= 2 and monthly in text.getvalue() and monthly in run_markdown(summary)
    assert f"{window['usd_per_month']:,.2f}" in page
    assert dollar_words(summary) in page
    (row,) = decide_options([Option(name, answer.scenario)]) if not has_machines(scenario) or scenario.fleet.pools else (None,)
    if row is not None:
        assert row.usd_per_month == window["usd_per_month"] and option_cells(row)[2] == monthly
    assert len(re.findall(r"\$\d", page)) + page.count("US$") >= fewest / 2
    fleets = monthly_fleets(summary)
    if has_machines(scenario):
        assert fleets is not None and usd(fleets.perfect) in page and usd(fleets.perfect) in text.getvalue()
        assert fleets.configured == pytest.approx(window["compute_usd_per_month"])
        assert not summary["slo"]["holds"] or fleets.perfect <= fleets.configured * (1 + 1e-12)
    again = summarize(result)["cost"]["window"]
    assert again == {key: window[key] for key in again}
