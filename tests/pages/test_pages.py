"""Every page in a real browser: nothing serious for axe-core (vendored, MPL 2.0, version in its head), nothing cut off in
print on A4 or on a phone, nothing that the browser complains of."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.browser import CHROMIUM, Browser

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no chromium here")
AXE = (Path(__file__).parent / "axe.min.js").read_text(encoding="utf-8")
A4_PX = 717
"""Width of an A4 page between its margins (0.4 inches each), at 96 dots an inch."""
PAGES = {
    "run": (["run", "workload.limit=600", "hydra.run.dir=run"], "run/report.html"),
    "frontier": (
        ["sweep", "workload.limit=300", "gpu=l40s,h100", "engine.max_num_seqs=16,64", "hydra.sweep.dir=sweep"],
        "sweep/frontier.html",
    ),
    "compare": (
        ["compare", "workload.limit=300", "workload.limit=300 gpu=h100 fleet.replicas=2", "--html", "compare.html"],
        "compare.html",
    ),
    "decide": (["decide", "workload.limit=300", "hydra.run.dir=decide"], "decide/decide.html"),
}


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    browser = Browser()
    yield browser
    browser.close()


@pytest.fixture(scope="module", params=PAGES)
def page(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> str:
    words, file = PAGES[request.param]
    folder = tmp_path_factory.mktemp(request.param)
    subprocess.run([sys.executable, "-m", "sim", *words], cwd=folder, check=True, capture_output=True)
    return f"file://{folder / file}"


def serious(browser: Browser) -> list[str]:
    """What axe-core finds on the page that is open: what is serious or critical."""
    browser[f"{AXE};1"]
    found = browser["axe.run().then(r => JSON.stringify(r.violations.map(v => [v.impact, v.id, v.nodes[0].html])))"]
    return [f"{name}: {html}" for impact, name, html in json.loads(found) if impact in ("serious", "critical")]


def test_axe_finds_nothing_serious(browser: Browser, page: str) -> None:
    for dark in (False, True):
        browser.open(page)
        browser.picture(dark=dark)
        assert serious(browser) == []
    assert browser.complaints == []


def cut_off(browser: Browser, media: str, width: int) -> list[str]:
    """What of the page that is open reaches beyond ``width`` pixels on paper ("print") or on a "screen"."""
    with browser.as_medium(media, width):
        inside = "" if media == "print" else ":not(.scroll *)"  # on a screen a table scrolls in its frame
        beyond: list[str] = browser[
            f"[...document.querySelectorAll('html, table{inside}, svg, p, h1, h2')]"
            f".filter(one => Math.max(one.getBoundingClientRect().right, one.tagName === 'HTML' ? one.scrollWidth : 0) > {width} + 1)"
            ".map(one => one.outerHTML.slice(0, 80))"
        ]
    return beyond


@pytest.mark.parametrize(("media", "width"), [("print", A4_PX), ("screen", 390)])
def test_nothing_is_cut_off(browser: Browser, page: str, media: str, width: int) -> None:
    browser.open(page)
    assert cut_off(browser, media, width) == []


def test_wide_tables_scroll_by_keyboard(browser: Browser, page: str) -> None:
    browser.open(page)
    assert browser["[...document.querySelectorAll('.scroll')].every(one => one.tabIndex === 0)"]


def test_a_wide_table_folds_by_choice_of_columns(browser: Browser, page: str) -> None:
    browser.open(page)
    shown = "[...document.querySelectorAll('.folding thead th')].filter(one => one.offsetWidth).length"
    every = browser["document.querySelectorAll('.folding thead th').length"]
    assert (every > 0) == ("sweep" in page or "decide.html" in page)
    if every:
        folded = browser[shown]
        assert folded <= 12 and browser["document.querySelector('.folding .scroll').scrollWidth"] <= 1080
        browser["document.querySelectorAll('.folding input').forEach(box => box.click())"]
        assert browser[shown] == every
        browser.open(page)
        with browser.as_medium("print", A4_PX):
            assert browser[shown] == every, "paper has them all"


OVERPRINTED = """[...document.querySelectorAll('svg[role=img]')].flatMap(svg => {
  const words = [...svg.querySelectorAll('text')].map(t => [t.textContent, t.getBoundingClientRect()]).filter(w => w[1].width);
  const over = (a, b) => Math.min(a.right, b.right) - Math.max(a.left, b.left) > 1 && Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top) > 4;
  return words.flatMap((a, i) => words.slice(i + 1).filter(b => over(a[1], b[1])).map(b => a[0] + ' on ' + b[0]));
})"""


@pytest.mark.parametrize(("media", "width"), [("print", A4_PX), ("screen", 390), ("screen", 1300)])
def test_no_words_of_a_chart_stand_on_others(browser: Browser, page: str, media: str, width: int) -> None:
    browser.open(page)
    with browser.as_medium(media, width):
        assert browser[OVERPRINTED] == []


def test_charts_tell_their_values_to_pointer_and_keyboard(browser: Browser, page: str) -> None:
    browser.open(page)
    assert browser["document.querySelectorAll('.plot').length"] >= 1 or "decide" in page
    assert browser["[...document.querySelectorAll('.plot')].every(one => one.tabIndex === 0 && one.ariaLabel)"]
    still = "[...document.querySelectorAll('figure:not(.live) > .plot')]"
    if browser[f"{still}.length"]:
        browser[f"{still}[0].focus()"]
        said = []
        for key in ("Home", "ArrowRight", "End"):
            browser.press(key)
            said.append(browser[f"{still}[0].parentElement.querySelector('output').textContent"])
        assert (all(said) and len({*said}) == 3) or "sweep" in page, said
        browser.point_at(f"{still}[0]", 0.3)
        assert ":" in browser[f"{still}[0].parentElement.querySelector('output').textContent"]
    if browser["document.querySelectorAll('.times').length"]:
        values = "[...document.querySelectorAll('figure.live .legend b')].map(one => one.textContent)"
        browser["document.querySelectorAll('figure.live .plot')[1].focus()"]
        browser.press("End")
        first = browser[values]
        browser.press("ArrowLeft")
        assert all(first) and all(browser[values]) and browser[values] != first, "all charts follow one"
        browser.point_at("document.querySelector('figure.live .plot')", 0.4)
        assert all(browser[values])
    assert browser.complaints == []
