"""Every model type of the table against the parameters that transformers 5.24 counts for it on the meta device.

``counted.json``: type -> (facts as a file states them, sizes of the class shortened to 12 layers; parameters counted).
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from sim.perf import parameter_count
from sim.perf.hf_config import model_from_facts

COUNTED: dict[str, tuple[dict[str, Any], int]] = json.loads((Path(__file__).parent / "counted.json").read_text())


@pytest.mark.parametrize("kind", COUNTED)
def test_parameters_are_those_of_the_reference_implementation(kind: str) -> None:
    facts, counted = COUNTED[kind]
    assert parameter_count(model_from_facts(facts, kind, kind)) == pytest.approx(counted, rel=0.01)
