"""``configs/REFERENCE.md`` is what the schema says today."""

from __future__ import annotations

from pathlib import Path

import pytest

from sim.cli.keys import main

REFERENCE = Path(__file__).parents[3] / "configs" / "REFERENCE.md"


def test_the_reference_is_fresh(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--markdown"]) == 0
    fresh = "run `python -m sim keys --markdown > configs/REFERENCE.md`"
    assert capsys.readouterr().out == REFERENCE.read_text(encoding="utf-8"), fresh
