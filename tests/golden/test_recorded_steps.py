"""Step times against the steps of a real server, recorded one by one. They lie beside the repository, not in it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from sim.perf import step_time_model
from sim.trust.cases import read_case
from sim.trust.step_rows import durations_s, predicted_s, read_steps, step_rows
from sim.trust.validation_table import ErrorRow

MEASURED = Path(__file__).parents[3] / "shared" / "measured" / "v026"
pytestmark = pytest.mark.skipif(not MEASURED.is_dir(), reason=f"recorded steps are not at {MEASURED}")
CASES = ("closed16", "dec512", "dec2048", "dec8192", "mix32", "open30", "open85", "prefill")


@pytest.fixture(scope="module")
def rows() -> list[ErrorRow]:
    return [row for name in CASES for row in step_rows(read_case(MEASURED / f"h100-llama31-8b-{name}"))]


def test_decode_steps(rows: list[ErrorRow]) -> None:
    decode = [abs(row.error) for row in rows if row.regime == "decodes"]
    assert len(decode) >= 30
    assert np.median(decode) <= 0.03
    assert max(decode) <= 0.10


def test_mixed_steps_by_new_tokens(rows: list[ErrorRow]) -> None:
    """Captured in pieces, beyond the largest graph, bound by the GPU; alone and one behind another."""
    mixed = {(row.case, row.stage): round(row.error, 3) for row in rows if row.regime == "mixed"}
    assert len(mixed) >= 30
    assert np.median(np.abs(list(mixed.values()))) <= 0.06
    assert max(abs(error) for error in mixed.values()) <= 0.13, mixed  # windows that cut a step from its row count, too


@pytest.mark.parametrize("name", ["closed16", "open30", "open85"])
def test_all_steps_of_a_served_load(name: str) -> None:
    folder = MEASURED / f"h100-llama31-8b-{name}"
    case, steps = read_case(folder), read_steps(folder)
    guess = predicted_s(step_time_model(case.model, case.gpu, case.engine), steps)
    assert guess[3:].sum() == pytest.approx(durations_s(steps)[3:].sum(), rel=0.02)
