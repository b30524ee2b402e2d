"""Every model type of the table against the parameters that transformers 5.24 counts for it on the meta device.

``counted_kv.json``: numbers that its K and V projections (or that of its latent) give out for a token.
``counted.json``: type -> (facts as a file states them, sizes of the class shortened to 12 layers; parameters counted).
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from sim.perf import kv_bytes_per_token, parameter_count
from sim.perf.hf_config import model_from_facts

COUNTED_KV: dict[str, int] = json.loads((Path(__file__).parent / "counted_kv.json").read_text())
COUNTED: dict[str, tuple[dict[str, Any], int]] = json.loads((Path(__file__).parent / "counted.json").read_text())


@pytest.mark.parametrize("kind", COUNTED)
def test_parameters_are_those_of_the_reference_implementation(kind: str) -> None:
    facts, counted = COUNTED[kind]
    assert parameter_count(model_from_facts(facts, kind, kind)) == pytest.approx(counted, rel=0.01)


@pytest.mark.parametrize("kind", COUNTED_KV)
def test_cache_holds_what_the_projections_of_k_and_v_give_out(kind: str) -> None:
    facts, _ = COUNTED[kind]
    assert kv_bytes_per_token(model_from_facts(facts, kind, kind), "bf16") == 2 * COUNTED_KV[kind]
