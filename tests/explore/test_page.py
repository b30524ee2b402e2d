"""The page in a real browser: loads, turns, compares, finds a key, shows an error, cancels, restores from its address."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.browser import CHROMIUM, Browser
from tests.pages.test_pages import A4_PX, cut_off, serious

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no chromium here")
ANSWERED = "document.querySelector('#answer .verdict') && !document.querySelector('#answer').classList.contains('old')"
WHOLE = "/^All /.test(document.querySelector('#state').textContent)"


@pytest.fixture
def browser() -> Iterator[Browser]:
    browser = Browser()
    yield browser
    browser.close()


def test_a_user_turns_pins_compares_and_returns(browser: Browser, url: str) -> None:
    browser.open(url)
    browser.until(WHOLE)
    assert browser["document.querySelector('#command').textContent"] == "servecap run slo=chat"
    browser["document.querySelector('#pin').click()"]
    browser.turn("gpu", "h100")
    browser.until(f"{ANSWERED} && /h100/.test(document.title)")
    assert "gpu=h100" in browser["document.querySelector('#command').textContent"]
    assert "US$ a month" in browser["document.querySelector('#pinned').innerText"]
    assert browser["document.querySelectorAll('#answer figure svg').length"] > 5
    browser["document.querySelector('#answer figure.live .plot').focus()"]
    browser.press("End")
    assert browser["document.querySelector('#answer figure.live output').textContent"].startswith("at ")

    address = browser["location.href"]
    browser.open("about:blank")
    browser.open(address)
    browser.until(f"{ANSWERED} && /h100/.test(document.title)")
    assert browser["document.querySelector('#k-gpu').value"] == "h100"
    assert browser.complaints == []


def test_errors_are_told_and_any_key_is_found(browser: Browser, url: str) -> None:
    browser.open(url)
    browser.until(ANSWERED)
    browser.turn("fleet.replicas", "-3")
    browser.until("!document.querySelector('#error').hidden")
    assert "fleet.replicas" in browser["document.querySelector('#error').textContent"]
    browser.turn("fleet.replicas", "")
    browser[
        "(() => { const f = document.querySelector('#find'); f.value = 'watermark'; f.dispatchEvent(new Event('input')); })()"
    ]
    browser.until("document.querySelector('#found [data-key=\"engine.watermark\"]')")
    browser.until(f"{ANSWERED} && document.querySelector('#error').hidden")


def test_a_long_run_is_cancelled(browser: Browser, url: str) -> None:
    browser.open(url)
    browser.until(ANSWERED)
    browser.turn("workload.rate_scale", "60")
    browser.until("!document.querySelector('#cancel').hidden")
    browser["document.querySelector('#cancel').click()"]
    browser.until("document.querySelector('#cancel').hidden")
    browser.turn("workload.rate_scale", "")
    browser.until(ANSWERED)
    assert browser.complaints == []


def test_a_phone_and_paper_hold_it(browser: Browser, url: str) -> None:
    browser.open(url)
    browser.until(WHOLE)
    browser["document.querySelector('#pin').click()"]
    assert cut_off(browser, "screen", 390) == []
    assert cut_off(browser, "print", A4_PX) == []


def test_axe_finds_nothing_serious(browser: Browser, url: str) -> None:
    browser.open(url)
    browser.until(WHOLE)
    browser["document.querySelector('#pin').click()"]
    assert serious(browser) == []
