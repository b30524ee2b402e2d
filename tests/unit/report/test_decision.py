from __future__ import annotations

import json

import pytest

from sim.analysis import summarize
from sim.analysis.economics import decide
from sim.analysis.ranges import home_usd_per_1m
from sim.cost.break_even import Economics
from sim.report import frontier_markdown, run_markdown
from sim.report.decision import break_even_words, confidence_sentence, decision_section, decision_sentence
from sim.report.pictures import main


@pytest.fixture
def decisions(make_result):
    rows = [{"arrival_s": i * 0.1, "output_tokens": 200, "finish_s": i * 0.1 + 10.5} for i in range(300)]
    result = make_result(rows)
    return decide(result.scenario, summarize(result))


def test_a_decision_for_each_provider(decisions) -> None:
    assert {one.api.provider for one in decisions} == {"groq", "together"}
    for one in decisions:
        volume = one.today_tokens_per_day
        home, api = one.numbers.self_host_usd_per_month(volume), one.numbers.api_usd_per_month(volume)
        assert one.cheaper == ("self-hosting" if home <= api else "the API")
        assert one.swings[0].width == max(swing.width for swing in one.swings)
        assert one.cheaper in decision_sentence(one)
        assert break_even_words(one) in decision_section(decisions)
        assert f"Measure {one.screening[0].name} first" in confidence_sentence(one)


def test_the_tornado_turns_about_the_closed_formula() -> None:
    numbers = Economics(
        usd_per_replica_hour=1.5, utilisation=1.0, tokens_per_day=1500 * 86400, overhead_fraction=0.3
    )
    assert home_usd_per_1m(numbers) == pytest.approx(0.3611, abs=1e-4)


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
        "job,gpu,max_num_seqs,replicas,slo.verdict,cost.usd_per_1m_output_tokens,latency.ttft_s.p95\n0,l40s,64,3,pass,0.5,1\n"
    )
    (tmp_path / "0" / "summary.json").write_text(json.dumps({"slo": {"targets": {"ttft_p95_s": 2.0}}}))
    assert main([str(tmp_path), str(tmp_path / "out")]) == 0
    assert "stop here" in (tmp_path / "out" / "cost.svg").read_text()
    assert len(capsys.readouterr().out.splitlines()) == 3
