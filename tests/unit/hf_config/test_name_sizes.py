"""The size that a file's name says is held against what is in the file."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from sim.errors import ConfigError
from sim.perf import model_from_hf_config, parameter_count

SIX_TENTHS = {
    "model_type": "qwen3", "hidden_size": 1024, "intermediate_size": 3072, "num_hidden_layers": 28, "num_attention_heads": 16,
    "num_key_value_heads": 8, "head_dim": 128, "vocab_size": 151936, "tie_word_embeddings": True, "torch_dtype": "bfloat16",
    "max_position_embeddings": 40960,
}  # fmt: skip


@pytest.mark.parametrize("name", ["Qwen3-0.6B.json", "qwen3_0_6b_config.json", "qwen3_600m.json", "mine.json"])
def test_a_name_that_says_the_size_in_any_spelling_is_read(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(json.dumps(SIX_TENTHS))
    assert parameter_count(model_from_hf_config(tmp_path / name)) == pytest.approx(0.596e9, rel=0.01)


@pytest.mark.parametrize("name", ["qwen3_6b.json", "Qwen3-8B.json", "qwen3_1_7b.json"])
def test_a_name_that_says_another_size_is_refused(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(json.dumps(SIX_TENTHS))
    with pytest.raises(ConfigError, match="the name says"):
        model_from_hf_config(tmp_path / name)
