"""The table of claims agrees with the experiments that it quotes, as they are committed."""

from __future__ import annotations

import csv
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
CLAIMS = ROOT / "experiments" / "claims"


@pytest.fixture
def recorded(monkeypatch: pytest.MonkeyPatch):  # type: ignore[no-untyped-def]
    monkeypatch.syspath_prepend(str(CLAIMS))
    import recorded

    yield recorded
    for name in ("recorded", "table", "results"):
        sys.modules.pop(name, None)


def test_every_quoted_row_follows_from_the_committed_results(recorded) -> None:  # type: ignore[no-untyped-def]
    with (CLAIMS / "results.csv").open(encoding="utf-8", newline="") as file:
        committed = [tuple(row) for row in csv.reader(file)]
    rows = recorded.recorded_rows()
    assert committed[-len(rows) :] == rows


def test_the_readme_shows_the_rows_of_the_table(recorded) -> None:  # type: ignore[no-untyped-def]
    text = (CLAIMS / "README.md").read_text(encoding="utf-8")
    from table import readme_line

    shown = [line for line in text.splitlines() if line.startswith("| ")][1:]
    assert shown == [readme_line(row) for row in recorded.read_rows()]


def test_rows_have_a_verdict_numbers_and_a_command_that_exists(recorded) -> None:  # type: ignore[no-untyped-def]
    for claim, verdict, found, command in recorded.recorded_rows():
        assert verdict in {"reproduced", "refuted", "conditional"}, claim
        assert any(sign.isdigit() for sign in found), claim
        assert "nan" not in found.split(), claim
        assert (ROOT / command.removeprefix("python ")).is_file(), claim


def test_a_verdict_follows_its_numbers(recorded, monkeypatch: pytest.MonkeyPatch) -> None:  # type: ignore[no-untyped-def]
    table = recorded.cases("autoscaling_signals", "traffic", "case")
    for (_, case), row in table.items():
        if case == "tokens in flight":
            row["over_qps_low"] = "-1"
    monkeypatch.setattr(recorded, "cases", lambda *_: table)
    assert recorded.autoscaling()[1] == "refuted"


def test_every_claim_has_a_verdict_a_number_and_a_command() -> None:
    with (CLAIMS / "results.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len({row["claim"] for row in rows}) == len(rows) > 25
    for row in rows:
        assert row["verdict"] in {"reproduced", "refuted", "conditional"}, row
        assert any(sign.isdigit() for sign in row["found"]), row
        assert row["command"].split()[0] in {"python", "servecap"}, row
