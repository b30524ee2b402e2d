from __future__ import annotations

import io
import json
from html import unescape

import pytest
from rich.console import Console

from sim.analysis import price, summarize
from sim.analysis.economics import decide
from sim.cli.compose import composed_scenario
from sim.report import frontier_markdown, print_run_summary, run_markdown
from sim.report.decision import break_even_words, confidence_sentence, decision_section, decision_sentence
from sim.report.pictures import main
from sim.report.run_page import run_page
from sim.run import simulate


@pytest.fixture
def found(make_result):
    rows = [{"arrival_s": i * 0.1, "output_tokens": 200, "finish_s": i * 0.1 + 10.5} for i in range(300)]
    result = make_result(rows)
    return result.scenario, summarize(result)


@pytest.fixture
def decisions(found):
    scenario, summary = found
    volume = summary["cost"]["window"]["output_tokens_per_day"]
    points = [
        {"replicas": 1, "rate_scale": scale, "output_tokens_per_day": scale * volume, "holds": scale < 2}
        for scale in (1.0, 1.5, 2.0)
    ]
    return decide(scenario, summary | {"capacity": points})


def test_a_decision_for_each_provider_cheapest_first(decisions) -> None:
    assert {one.name for one in decisions} >= {"groq", "together", "novita"}
    assert [one.api_usd_per_month for one in decisions] == sorted(one.api_usd_per_month for one in decisions)
    assert decisions[0].cheaper in decision_sentence(decisions)
    assert f"Measure {decisions[0].other_volumes.screening[0].name} first" in confidence_sentence(
        decisions[0], decisions[0].other_volumes
    )
    for one in decisions:
        more = one.other_volumes
        assert one.cheaper == ("self-hosting" if one.home_usd_per_month < one.api_usd_per_month else "the API")
        assert more.swings[0].width == max(swing.width for swing in more.swings)
        assert break_even_words(one) in decision_section(decisions)
        assert more.numbers.self_host_usd_per_month(one.today_tokens_per_day) == pytest.approx(one.home_usd_per_month)
        assert more.numbers.api_usd_per_month(one.today_tokens_per_day) == pytest.approx(one.api_usd_per_month)


def test_without_a_search_there_is_no_break_even_but_a_command(found) -> None:
    decisions = decide(*found)
    assert all(one.other_volumes is None for one in decisions)
    page = decision_section(decisions, "servecap decide gpu=h100")
    assert "servecap decide gpu=h100" in page
    assert "Break-even" not in page
    assert all("break_even_tokens_per_day" not in one.as_dict() for one in decisions)


def test_a_fleet_that_misses_its_slo_is_no_alternative(found) -> None:
    scenario, summary = found
    missed = summary | {"slo": summary["slo"] | {"holds": False}}
    assert "no alternative" in decision_sentence(decide(scenario, missed))


def test_no_provider_no_decision(make_result) -> None:
    assert decision_section([]) == ""
    result = make_result([], end_s=5.0)
    assert decide(result.scenario, summarize(result)) == []


def test_markdown(make_result) -> None:
    rows = [{"max_num_seqs": 64, "gpu": "l40s", "replicas": 3, "verdict": "pass", "usd_per_1m_output_tokens": 0.5}]
    text = frontier_markdown(rows, notes=["a|b"])
    lines = text.splitlines()
    assert lines[0] == "**Cheapest within the SLO: 64 on 3 × l40s, $0.5 per 1M output tokens.**"
    assert len({line.count("|") for line in lines if line.startswith("|")}) == 1
    assert "| ttft | 0.5 |" in run_markdown(summarize(make_result()))


def test_pictures_of_a_sweep(tmp_path, capsys) -> None:
    (tmp_path / "0").mkdir()
    (tmp_path / "sweep.csv").write_text(
        "job,gpu,max_num_seqs,replicas,slo.verdict,cost.window.usd_per_1m_output_tokens,latency.ttft_s.p95\n0,l40s,64,3,pass,0.5,1\n"
    )
    (tmp_path / "0" / "summary.json").write_text(json.dumps({"slo": {"targets": {"ttft_p95_s": 2.0}}}))
    assert main([str(tmp_path), str(tmp_path / "out")]) == 0
    assert "stop here" in (tmp_path / "out" / "cost.svg").read_text()
    assert len(capsys.readouterr().out.splitlines()) == 3


@pytest.fixture(scope="module")
def by_an_api():
    scenario = composed_scenario(["workload.limit=200", "fleet.replicas=0", "api=gpt_4o_mini"])
    result = simulate(scenario)
    return result, summarize(result)


def test_without_a_machine_the_run_is_told_as_an_apis(by_an_api) -> None:
    """It was ``0 x l40s`` with a server line, a GPU's price, and "self-hosting" beside the APIs."""
    result, summary = by_an_api
    decisions = decide(result.scenario, summary)
    assert not any(one.at_home for one in decisions)
    sentence = decision_sentence(decisions)
    assert sentence.startswith("The API's bill is") and sentence.endswith("less.")
    pages = unescape(run_page(result, summary, price(result)))
    assert "by the API gpt_4o_mini" in pages and "Which API" in pages
    assert not [words for words in ("0 x ", "vllm serve", "self-hosting", "GPU busy", "a GPU-hour", "Step times") if words in pages]
    terminal = io.StringIO()
    print_run_summary(summary, Console(file=terminal, width=300), against=sentence)
    assert sentence in terminal.getvalue() and "GPU busy" not in terminal.getvalue()


def test_the_sentence_stands_once_on_a_page(by_an_api) -> None:
    result, summary = by_an_api
    page = unescape(run_page(result, summary, price(result)))
    assert page.count(decision_sentence(decide(result.scenario, summary))) == 1


def test_a_page_takes_the_decisions_that_are_known(by_an_api, monkeypatch) -> None:
    """At a sweep's end they were computed for its own page and again for the winner's."""
    result, summary = by_an_api
    known = decide(result.scenario, summary)
    whole = run_page(result, summary, price(result))
    monkeypatch.setattr("sim.report.run_page.decide", None)
    assert run_page(result, summary, price(result), decisions=known) == whole
