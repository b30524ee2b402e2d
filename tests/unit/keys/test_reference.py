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


def test_every_row_of_the_reference_has_all_its_cells() -> None:
    rows = [line for line in REFERENCE.read_text(encoding="utf-8").splitlines() if line.startswith("| `")]
    assert len(rows) > 650
    for row in rows:
        cells = [cell.strip() for cell in row.replace(chr(92) + "|", "").split("|")[1:-1]]
        assert len(cells) == 8 and all(cells[place] for place in (0, 2, 3, 4, 5, 6, 7)) and "``" not in row, row
