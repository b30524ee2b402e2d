from __future__ import annotations

import base64
import hashlib
import io
import json
import math
import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from rich.console import Console

from sim.analysis import price, summarize
from sim.errors import OutputError
from sim.record.result import REQUEST_COLUMNS
from sim.report import frontier_html, print_frontier_table, print_run_summary, write_run
from sim.report.loads import LoadPoint, load_section
from sim.report.page import MOST_BYTES
from sim.report.run_page import run_page
from sim.report.scale import Scale, log_ticks, nice_ticks, number

ROWS = [
    {
        "max_num_seqs": cap, "gpu": "l40s", "replicas": replicas, "ttft_p95_s": 1.5, "tpot_p95_s": 0.05,
        "usd_per_1m_output_tokens": usd, "verdict": verdict, "missed_by": why,
        "one_replica_load": {"requests_per_s": 1.5}, "one_replica_usd_per_1m_output_tokens": usd and usd * 0.95,
        "utilisation": {"gpu_busy": 0.9, "batch": 0.5, "kv": 0.4, "token": None},
    }
    for cap, replicas, usd, verdict, why in [
        (8, 16, None, "overloaded", "TTFT p95 50 s > 2 s"), (32, 9, 1.25, "pass", ""), (64, 8, 1.127, "pass", ""),
        (256, 8, 1.127, "pass", ""),
    ]
] + [{"max_num_seqs": 512, "gpu": "l40s", "verdict": "cannot run", "reason": "needs <more> memory"}]  # fmt: skip


class _Strict(HTMLParser):
    """Checks nesting, collects what would be fetched."""

    VOID = frozenset({"meta", "link", "br", "img", "input", "hr"})

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.fetched: list[str] = []
        self.pictures = self.titled = self.scripts = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        named = dict(attrs)
        if tag not in self.VOID:
            self.open.append(tag)
        for key in ("src", "href"):
            target = named.get(key) or ""
            if target and not target.startswith(("data:", "#")):
                self.fetched.append(target)
        self.pictures += tag == "svg" and named.get("role") == "img"
        self.titled += tag == "desc"
        self.scripts += tag == "script" and named.get("type") != "application/json"

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        pass

    def handle_endtag(self, tag: str) -> None:
        assert self.open and self.open.pop() == tag


def _check_page(html: str) -> None:
    parser = _Strict()
    parser.feed(html)
    assert parser.open == []
    assert parser.fetched == []
    assert parser.scripts == 1, "the room's own, whose digest the page's policy names"
    script = re.findall(r"<script>(.*?)</script>", html, re.DOTALL)[0]
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}'" in html
    assert parser.pictures > 0
    assert parser.pictures == parser.titled, "every picture has a text alternative"
    assert len(html.encode()) < MOST_BYTES
    text = re.sub(r"<(style|script)\b.*?</\1>", "", html, flags=re.DOTALL).lower()
    assert re.search(r"\bnan\b", text) is None


@pytest.fixture
def finished(make_result):
    rng = np.random.default_rng(0)
    rows = [
        {"arrival_s": float(i), "queue_s": q, "first_token_s": i + q + 0.2, "finish_s": i + q + 1.4,
         "output_tokens": 21, "route": "chat" if i % 3 else "batch"}
        for i, q in enumerate(rng.exponential(0.3, 200))
    ]  # fmt: skip
    result = make_result(rows, events=[{"time_s": 1.0, "event": "ready", "cause": "<start>"}])
    tree = price(result)
    return result, summarize(result, cost=tree), tree


def test_the_run_page_stands_alone(finished) -> None:
    html = run_page(*finished)
    _check_page(html)
    assert "&lt;start&gt;" in html
    assert "What flips it first" in html


def test_the_same_run_gives_the_same_bytes(finished) -> None:
    result, summary, tree = finished
    page = run_page(result, summary, tree)
    assert page == run_page(result, summary, tree)
    ids = re.findall(r' id="([^"]+)"', page)
    assert len(ids) == len(set(ids))


def test_cost_against_load_falls_as_one_over_load_and_steps_at_whole_replicas() -> None:
    summary = {"cost": {"window": {"usd_per_1m_output_tokens": 0.4}}, "slo": {"holds": True}}
    points = [LoadPoint(1, 4.0, 0.5, True), LoadPoint(1, 6.0, 0.3, False), LoadPoint(2, 9.0, 0.4, True)]
    page = load_section(summary, 4, 20.0, points)
    assert "SLO held" in page
    assert "SLO missed" in page
    assert "this run: 4 replicas, $0.4" in page
    assert load_section({**summary, "slo": {"holds": False}}, 4, 20.0, points) == ""
    assert load_section(summary, 4, 20.0, []) == ""  # nothing was searched: the rate delivered is no capacity


def test_the_page_of_an_empty_run_opens_too(make_result) -> None:
    result = make_result([], end_s=10.0)
    _check_page(run_page(result, summarize(result), price(result)))


def test_an_overloaded_run_shows_no_percentile(make_result) -> None:
    rows = [
        {"arrival_s": float(i), "queue_s": i / 2, "first_token_s": 1.5 * i + 0.1, "finish_s": 1.5 * i + 1.0}
        for i in range(100)
    ]
    result = make_result(rows)
    summary = summarize(result)
    assert summary["slo"]["verdict"] == "overloaded"
    assert f">{summary['latency']['ttft_s']['p95']:.3g}" not in run_page(result, summary, price(result))


def test_the_frontier_stands_alone_and_marks_the_stop() -> None:
    html = frontier_html(ROWS, targets={"ttft_p95_s": 2.0, "tpot_p95_s": 0.1}, notes=["price: list"])
    _check_page(html)
    assert "stop here: 64 on 8 × l40s, $1.13" in html
    assert "overloaded" in html
    assert "needs &lt;more&gt; memory" in html


def test_nothing_feasible_is_said() -> None:
    html = frontier_html([ROWS[0], ROWS[4]])
    assert "No answer." in html
    assert "stop here" not in html


def test_terminal_tables_fit_their_width() -> None:
    for width, columns in ((100, ["p95"]), (150, ["p50/95/99"])):
        console = Console(width=width, force_terminal=True, color_system=None, record=True, file=io.StringIO())
        print_frontier_table(ROWS, console)
        text = console.export_text()
        assert all(len(line) <= width for line in text.splitlines())
        assert all(column in text for column in columns)
        assert "1.25" in text
        assert "overloaded" in text


def test_run_summary_in_the_terminal(finished) -> None:
    console = Console(width=100, color_system=None, record=True, file=io.StringIO())
    print_run_summary(finished[1], console)
    text = console.export_text()
    assert "200 offered" in text
    assert "per 1M output tokens" in text


def test_a_run_folder(tmp_path: Path, finished) -> None:
    folder = tmp_path / "run"
    write_run(folder, *finished, "seed: 0\n", {"seed": 0, "nothing": math.nan})
    names = {path.name for path in folder.iterdir()}
    assert names == {
        "config.yaml", "manifest.json", "summary.json", "requests.parquet", "timeseries.parquet", "events.jsonl",
        "cost.json", "report.html",
    }  # fmt: skip
    assert json.loads((folder / "manifest.json").read_text())["nothing"] is None
    requests = pd.read_parquet(folder / "requests.parquet")
    assert tuple(requests.columns) == REQUEST_COLUMNS
    tree = json.loads((folder / "cost.json").read_text())
    assert requests["cost_usd"].sum() == pytest.approx(tree["children"][0]["children"][0]["usd"])
    assert json.loads((folder / "events.jsonl").read_text().splitlines()[0])["event"] == "ready"


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path, finished) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(OutputError, match="file"):
        write_run(tmp_path / "file" / "run", *finished, "", {})


@pytest.mark.skipif(shutil.which("chromium") is None, reason="needs the browser chromium, which is not installed")
def test_a_browser_renders_the_page_without_a_word_on_its_console(tmp_path: Path, finished) -> None:
    path = tmp_path / "report.html"
    path.write_text(run_page(*finished), encoding="utf-8")
    command = [
        "chromium", "--headless", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr", "--log-level=0",
        f"--user-data-dir={tmp_path / 'profile'}", "--dump-dom", path.as_uri(),
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    assert "</footer>" in done.stdout
    assert [line for line in done.stderr.splitlines() if "CONSOLE" in line] == []


def test_scales_and_numbers() -> None:
    assert nice_ticks(0, 4.2) == [0, 1, 2, 3, 4, 5]
    assert nice_ticks(0.0, 0.07) == pytest.approx([0.0, 0.02, 0.04, 0.06, 0.08])
    assert log_ticks(0.1, 2) == pytest.approx([0.1, 0.2, 0.5, 1.0, 2.0])
    assert Scale(1, 100, 0, 10, log=True)(10) == pytest.approx(5)
    assert [number(v) for v in (None, math.nan, 0.0, 0.01234, 1.5, 12345.6)] == [
        "–",
        "–",
        "0",
        "0.0123",
        "1.5",
        "12,346",
    ]
