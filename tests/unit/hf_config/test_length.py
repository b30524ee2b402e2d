"""The longest sequence as vLLM derives it from a file."""

from __future__ import annotations

from typing import Any

import pytest

from sim.perf.hf_config import model_from_facts
from tests.unit.hf_config.test_spellings import LLAMA


@pytest.mark.parametrize(
    ("more", "longest", "unset"),
    [
        ({}, 131_072, None),
        ({"max_position_embeddings": None, "n_positions": 1024}, 1024, None),
        ({"max_position_embeddings": None, "model_max_length": 4096}, 4096, None),
        ({"rope_scaling": {"type": "yarn", "factor": 4.0, "original_max_position_embeddings": 32768}, "max_position_embeddings": 32768},
         131_072, None),
        ({"rope_scaling": {"type": "yarn", "factor": 32, "original_max_position_embeddings": 4096}}, 131_072, None),
        ({"rope_scaling": {"rope_type": "llama3", "factor": 8.0, "original_max_position_embeddings": 8192}}, 131_072, None),
        ({"rope_scaling": {"rope_type": "linear", "factor": 2.0}, "max_position_embeddings": 4096}, 8192, None),
        ({"rope_scaling": {"type": "longrope", "short_factor": [1.0]}, "original_max_position_embeddings": 4096}, 131_072, 4096),
    ],
)  # fmt: skip
def test_lengths(more: dict[str, Any], longest: int, unset: int | None) -> None:
    found = model_from_facts({**LLAMA, **more}, "config.json", "a model")
    assert (found.max_context, found.unset_max_model_len) == (longest, unset)
