"""Which layer is which where a file does not list it: as the configuration classes of transformers 5.24 derive it.

``derived.json``: type -> facts without lists, 13 layers; first letters of the mixing and feed-forward kinds.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from sim.perf.hf_config.facts import Facts
from sim.perf.hf_config.layers import layer_kinds
from sim.perf.hf_config.model_types import FAMILIES

DERIVED: dict[str, dict[str, Any]] = json.loads((Path(__file__).parent / "derived.json").read_text())


@pytest.mark.parametrize("kind", DERIVED)
def test_layers_are_those_that_the_class_derives(kind: str) -> None:
    row = DERIVED[kind]
    mixing, forward = layer_kinds(Facts(row["facts"], kind, kind=kind), FAMILIES[kind], 13)
    assert "".join(word[0] for word in mixing) == row.get("mixing", "".join(word[0] for word in mixing))
    assert "".join(word[0] for word in forward) == row.get("forward", "".join(word[0] for word in forward))
