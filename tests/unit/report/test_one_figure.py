"""One function owns each figure: page, terminal, Markdown, JSON and ``decide`` show the same dollars, in fourteen scenarios.

Each scenario is run twice: as ``servecap run`` or ``size`` runs it, with a sweep's answer over it, and by ``servecap decide``.
Every dollar figure in their pages, tables and texts is read off and must be an amount of the first one's ``summary.json``,
``cost.json``, ``answer.json`` or month, or a stated price; those that name what they are must be that amount. The lines
of charts (interpolated, between these amounts) are left out.
"""

from __future__ import annotations

import io
import json
import re
from collections.abc import Iterator, Mapping
from contextlib import redirect_stderr, redirect_stdout
from html import escape, unescape
from typing import Any, NamedTuple

import pytest
from rich.console import Console

from sim.analysis import CostNode, month, price
from sim.analysis.economics import Decision, decide
from sim.cli.compose import composed_scenario
from sim.cli.decide import run_decide
from sim.cli.job import _write_outcome, solve_and_write
from sim.cli.stored import stored_scenario
from sim.cli.sweep import finish_sweep
from sim.decision.table import how_to_size
from sim.report import print_run_summary, run_markdown
from sim.report.decision import volume_words
from sim.report.fleet_sizes import monthly_fleets
from sim.report.scale import number, usd
from sim.run import simulate
from sim.search import ScenarioEvaluator, fewest_replicas
from sim.spec import Scenario
from sim.spec.served_fleet import served_pools

SHORT = [
    "workload.duration_s=60", "workload.rate_scale=1", "output.timeseries=false", "search.replications=1",
    "search.max_replications=1", "decide.apis=[together, novita]", "decide.most_replicas=16",
]  # fmt: skip
"""Of those who sell the models, a dear one and a cheap one."""


SHARED_PROMPTS = (
    "{duration_s: 60, arrivals: {kind: poisson, rate_per_s: 6}, prefix: {kind: groups, weights: [1], tokens: [6000]}, "
    "input_tokens: {kind: lognormal, mu: 4.1, sigma: 0.3, max_tokens: 200}, "
    "output_tokens: {kind: lognormal, mu: 4.0, sigma: 0.5, max_tokens: 400}}"
)


class Case(NamedTuple):
    overrides: list[str]
    figures: tuple[int, int, int]
    """Dollar figures of the run's page, of the sweep's and of the option's: none is gained by hiding one."""
    solve: str = "none"
    meets: tuple[str, ...] = ("together",)
    """APIs with which it breaks even at some volume; with the others that are compared it never does."""


SCENARIOS = {
    "default": Case([], (63, 28, 6), "replicas"),
    "two l40s": Case(["fleet.replicas=2"], (54, 26, 6)),
    "70b at a fifth": Case(
        ["model=llama3_70b", "gpu=h100", "engine.tensor_parallel_size=8", "fleet.replicas=1"], (54, 26, 6)
    ),
    "spot and autoscaler": Case(["fleet=spot", "spot=aws", "autoscaler=tokens_in_flight"], (54, 26, 6)),
    "hybrid": Case(["workload.duration_s=600", "fleet.replicas=2", "api=gpt_4o_mini", "gateway.hybrid={uncertain_fraction: 0.2}"], (58, 29, 8)),
    "cost=full": Case(["cost=full"], (68, 28, 6), "replicas"),
    "week": Case(
        ["experiment=week", "workload.duration_s=null", "workload.generator.duration_s=240", "slo.tpot_p95_s=0.15"],
        (54, 26, 6), meets=(),
    ),
    "API only": Case(
        ["fleet.replicas=0", "api=gpt_4o_mini"], (48, 29, 8), meets=()
    ),
    "two models": Case(
        ["workload=agents_and_chat_synthetic", "workload.generator.duration_s=60", "gateway.routes={agent: big, chat: small}",
         "+fleet.pools={big: {replicas: 1, gpu: h100, model: llama3_70b, engine: {tensor_parallel_size: 4}}, "
         "small: {replicas: 2}}"],
        (50, 26, 6),
    ),
    "purchase": Case(["cost.purchase={machine_usd: 90000, machine_gpus: 4, machine_w: 2500}"], (63, 28, 6), "replicas"),
    "power simulated": Case(
        ["fleet.replicas=3", "cost.purchase={machine_usd: 90000, machine_gpus: 4}", "cost=full"], (84, 31, 24), meets=()
    ),
    "commitment": Case(
        ["cost.commitment={gpus: 4, years: 3}", "fleet.replicas=2"], (54, 26, 6), meets=("together", "novita")
    ),
    "prefix hits": Case(
        ["engine.enable_prefix_caching=true", "workload.packaged=null", f"++workload.generator={SHARED_PROMPTS}"],
        (63, 28, 6), "replicas", ("together", "novita"),
    ),
    "missed": Case(["fleet.replicas=1", "slo.ttft_p95_s=0.01"], (54, 3, 5), meets=()),
    "a model nobody sells": Case(
        ["decide.apis=true", "model=mistral_nemo_12b", "engine.max_model_len=32768", "fleet.replicas=2"],
        (31, 5, 6), meets=(),
    ),
}
_AMOUNT = r"\$(\d[\d,]*(?:\.\d+)?)"
NAMED = {
    r"bill is {}": "usd_per_month",
    r"{} a month, \$[\d.,]+ per 1M": "usd_per_month",
    r"<b>{}</b><span>a month of this traffic": "usd_per_month",
    r"Cheapest within the SLO: [^$]*?{} a month": "usd_per_month",
    r"(?<!/ ){} per 1M output tokens": "usd_per_1m_output_tokens",
    r"<b>{}</b><span>per 1M output": "usd_per_1m_output_tokens",
    r"{} an hour": "usd_per_hour",
    r"{} per 1M tokens": "usd_per_1m_tokens",
    r"Share of the bill of {}": "bill",
    r"asks {} for the same tokens": "api month",
    r"starts at once: {} of GPUs": "perfect",
    r"{} perfect": "perfect",
    r"{} this fleet": "configured",
}
"""What a figure says of itself, and the amount that it must then be."""


class Shown(NamedTuple):
    unsolved: Scenario
    scenario: Scenario
    """With what was solved filled in."""
    summary: dict[str, Any]
    texts: dict[str, str]
    """What each surface shows."""
    facts: dict[str, Any]
    """What each JSON file holds."""
    decisions: list[Decision]


@pytest.fixture(scope="module", params=SCENARIOS)
def shown(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Shown]:
    case, folder = SCENARIOS[request.param], tmp_path_factory.mktemp("figures")
    overrides = [*SHORT, *case.overrides, *(["search.solve=none"] if case.solve == "none" else [])]
    scenario, job = composed_scenario(overrides), folder / "sweep" / "0"
    texts = {}
    job.mkdir(parents=True)
    with redirect_stdout(io.StringIO()) as sweep, redirect_stderr(io.StringIO()):
        _write_outcome(job, solve_and_write(scenario, case.solve, job, tuple(overrides), ""))
        finish_sweep(folder / "sweep")
    with redirect_stdout(io.StringIO()) as options, redirect_stderr(io.StringIO()):
        run_decide(scenario, folder / "decide", overrides)
    summary = json.loads((job / "summary.json").read_text())
    terminal = io.StringIO()
    print_run_summary(summary, Console(file=terminal, width=200))
    texts = {
        "run": terminal.getvalue(),
        "Markdown": run_markdown(summary),
        "sweep": sweep.getvalue(),
        "decide": options.getvalue(),
    }
    paths = [job / "report.html", *(folder / "sweep").glob("*.*"), *(folder / "decide").glob("*.*")]
    paths.append(folder / "decide" / "options" / "as_configured" / "report.html")
    texts |= {str(path.relative_to(folder)): path.read_text() for path in paths if path.suffix in (".html", ".md")}
    names = ("sweep/0/summary.json", "sweep/0/cost.json", "sweep/0/job.json", "sweep/answer.json", "decide/decide.json")
    facts = {name: json.loads((folder / name).read_text()) for name in names}
    solved = stored_scenario(job)
    return request.param, Shown(scenario, solved, summary, texts, facts, decide(solved, summary))


def test_every_dollar_figure_is_an_amount_that_was_computed(shown: tuple[str, Shown]) -> None:
    name, one = shown
    known = {form for amount in amounts(one) for form in forms(amount)}
    stated = {pool.gpu.price.source for pool in served_pools(one.scenario)}
    sources = stated | {escape(source) for source in stated}
    stray = []
    for place, text in one.texts.items():
        for source in sources - {""}:
            text = text.replace(source, "")
        stray += [(place, *figure) for figure in figures(text) if figure[0] not in known]
    assert not stray
    pages = ("sweep/0/report.html", "sweep/frontier.html", "decide/decide.html")
    found = tuple(len(list(figures(one.texts[page]))) for page in pages)
    assert all(count >= fewest for count, fewest in zip(found, SCENARIOS[name].figures, strict=True)), found


def test_a_figure_is_what_it_says_it_is(shown: tuple[str, Shown]) -> None:
    _, one = shown
    window, fleets = one.summary["cost"]["window"], monthly_fleets(one.summary)
    known: dict[str, Any] = {**window, "bill": one.facts["sweep/0/cost.json"]["usd"]}
    if fleets is not None:
        known |= fleets._asdict()
    known |= {"api month": one.decisions[0].api_usd_per_month} if one.decisions else {}
    cheapest = {"usd_per_month": one.facts["decide/decide.json"]["options"][0]["usd_per_month"]}
    counted = 0
    for place, text in one.texts.items():
        for words, amount in NAMED.items():
            named = cheapest if place in ("decide", "decide/decide.html", "decide/decide.md") else known
            for found in re.finditer(words.format(_AMOUNT), unescape(text)):
                assert found[1] in forms(named[amount]), (place, found[0], amount, named[amount])
                counted += 1
    assert counted >= 20
    if one.scenario.has_machines:
        assert fleets is not None and usd(fleets.perfect) in one.texts["sweep/0/report.html"]
        assert fleets.configured == pytest.approx(window["compute_usd_per_month"])
        assert not one.summary["slo"]["holds"] or fleets.perfect <= fleets.configured * (1 + 1e-12)


def test_every_file_holds_the_same_dollars(shown: tuple[str, Shown]) -> None:
    """To the last bit: JSON rounds nothing."""
    _, one = shown
    window = one.summary["cost"]["window"]
    option = home(one)
    shared = {key for key in option if "usd" in key}
    assert len(shared) == 8 and {key: option[key] for key in shared} == {key: window[key] for key in shared}
    answer, job = one.facts["sweep/answer.json"], one.facts["sweep/0/job.json"]
    each = window["usd_per_1m_output_tokens"]
    assert answer["best"]["usd_per_1m_output_tokens"] == job["usd_per_1m_output_tokens"] == each
    assert job["usd_per_hour"] == window["usd_per_hour"]
    assert all(cell["usd_per_1m_output_tokens"] == each for cell in answer["pareto"])
    for against in answer["against_api"]:
        assert against["self_host_usd_per_month"] == window["usd_per_month"]
    assert one.facts["sweep/0/cost.json"]["usd"] == one.summary["cost"]["total_usd"]


def test_a_break_even_is_what_brute_force_finds(shown: tuple[str, Shown]) -> None:
    """Simulated around it, and sized where the option was, home is still dearer within 2 % below and cheaper from 2 % above
    on; where there is none, home is dearer at whatever load it still holds the SLO."""
    name, one = shown
    option, apis = home(one), api_options(one)
    found = {each["against"]: each for each in option["break_evens"]}
    assert {api for api, each in found.items() if each["times_today"] is not None} == {*SCENARIOS[name].meets}
    brute = ScenarioEvaluator(one.unsolved)
    today, sized = brute.scenario.workload.rate_scale, how_to_size(brute.scenario) == "replicas"

    def home_minus_api(times: float, api: Mapping[str, Any]) -> float | None:
        """US$ a month; None where the SLO is missed."""
        if sized:
            point = fewest_replicas(brute, low=1, high=64, start=1, rate_scale=today * times).nearest
        else:
            point = brute(replicas=brute.scenario.fleet.replicas, rate_scale=today * times)
        asked = (api["usd_per_month"] - api["fixed_usd_per_month"]) * times + api["fixed_usd_per_month"]
        return point.summary["cost"]["window"]["usd_per_month"] - asked if point.holds else None

    for against, each in found.items():
        if each["times_today"] is None:
            gaps = [home_minus_api(times, apis[against]) for times in (0.5, 1.0, 2.0, 4.0)]
            assert all(gap is None or gap > 0 for gap in gaps) and (gaps[1] is not None or not option["meets_slo"])
            continue
        if each["times_today"] > 0:
            gaps = {by: home_minus_api(each["times_today"] * by, apis[against]) for by in (0.98, 0.999, 1.02, 1.3)}
            assert max(gaps[0.98] or 0.0, gaps[0.999] or 0.0) > 0, (against, gaps)
            assert gaps[1.02] is not None and gaps[1.02] < 0 and (gaps[1.3] or 0.0) <= 0, (against, gaps)
        assert all(volume_words(each["tokens_per_day"]) in one.texts[place] for place in ("decide/decide.html", "decide"))


def test_an_api_asks_the_same_on_the_run_page_and_in_decide(shown: tuple[str, Shown]) -> None:
    _, one = shown
    asked, compared = api_options(one), 0
    for decision in one.decisions:
        row = asked.get(decision.name)
        if row is not None and row["output_tokens_per_day"] == pytest.approx(decision.today_tokens_per_day, rel=1e-12):
            assert decision.api_usd_per_month == pytest.approx(row["usd_per_month"], rel=1e-9)
            compared += 1
    assert compared or not asked


def home(one: Shown) -> dict[str, Any]:
    """What ``decide.json`` says of the scenario itself."""
    (option,) = [row for row in one.facts["decide/decide.json"]["options"] if row["name"] == "as configured"]
    return option


def api_options(one: Shown) -> dict[str, dict[str, Any]]:
    """The APIs alone of ``decide.json``, by provider."""
    rows = one.facts["decide/decide.json"]["options"]
    return {row["name"].removeprefix("API "): row for row in rows if row["name"].startswith("API ")}


def figures(text: str) -> Iterator[tuple[str, str]]:
    """Every ``$6,001`` of a text or page, and the numbers of table columns headed in dollars, with what stands around."""
    text = re.sub(r"<style>.*?</style>|<details.*?</details>", "", text, flags=re.S)
    for table in re.findall(r"<table>.*?</table>", text, re.S):
        head, *rows = [re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row) for row in re.findall(r"<tr.*?</tr>", table, re.S)]
        for row in rows:
            for title, cell in zip(head, row, strict=False):
                if "US$" in title and re.fullmatch(r"\d[\d,]*(\.\d+)?", cell):
                    yield cell, f"{row[0]}: {title}"
    for found in re.finditer(_AMOUNT, unescape(text)):
        yield found[1], found.string[max(0, found.start() - 60) : found.end() + 40]


def amounts(one: Shown) -> Iterator[float]:
    """Every amount that a surface may show: of the files of the run, of its month, and stated prices."""
    for name, data in one.facts.items():
        options = data.get("options", ()) if name.startswith("decide") else ()
        yield from dollars([row for row in options if row["kind"] == "API"] if options else data)
        for found in [each for row in options for each in row.get("break_evens", ())]:
            for flip in found["flips"]:
                yield from (flip["today"], flip["flips_at"])
    result = simulate(one.scenario)
    for node in (price(result), month(result)):
        yield from nodes(node)
    fleets = monthly_fleets(one.summary)
    if fleets is not None:
        perfect, configured, peak = fleets
        yield from (perfect, configured, peak, configured - perfect, abs(peak - configured))
    for pool in served_pools(one.scenario):
        yield from (pool.gpu.price.on_demand_usd_per_hour, pool.gpu.price.spot_usd_per_hour or 0.0)
    for api in one.scenario.gateway.apis.values():
        yield from (api.input_usd_per_1m, api.output_usd_per_1m)
    for decision in one.decisions:
        yield decision.api_usd_per_month
        for api in decision.apis:
            yield from (api.input_usd_per_1m, api.output_usd_per_1m)
        for swing in decision.other_volumes.swings if decision.other_volumes else ():
            yield from (swing.at_low, swing.at_high)


def nodes(tree: CostNode) -> Iterator[float]:
    """The dollars of every node."""
    yield tree.usd
    for child in tree.children:
        yield from nodes(child)


def dollars(data: Any, key: str = "") -> Iterator[float]:
    """Every number under a key that names dollars."""
    if isinstance(data, Mapping):
        for inner, value in data.items():
            yield from dollars(value, f"{key}.{inner}")
    elif isinstance(data, list):
        for value in data:
            yield from dollars(value, key)
    elif isinstance(data, int | float) and not isinstance(data, bool) and "usd" in key:
        yield float(data)


def forms(amount: float) -> set[str]:
    """How a surface may write ``amount``: it rounds, and changes nothing."""
    found = {usd(amount), number(amount), f"{amount:,.2f}", f"{amount:,.0f}", f"{amount:.3g}"}
    return {form.removeprefix("$") for form in found}
