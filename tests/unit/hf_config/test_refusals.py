"""What cannot be read is refused with its key, whatever is wrong with it: exit 2, never a traceback."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from sim.errors import ConfigError, SimError
from sim.perf import model_from_hf_config
from sim.perf.hf_config import model_from_facts
from tests.unit.hf_config.test_spellings import DEEPSEEK, LLAMA, QWEN_MOE

WRONG: list[Any] = [None, [], [1, 2], "4096", float("nan"), float("inf"), 0, -1, 1e30, 10**40, True, {}, 2.5]
SIZES = ("hidden_size", "num_hidden_layers", "num_attention_heads", "vocab_size")


@pytest.mark.parametrize("key", SIZES)
@pytest.mark.parametrize("facts", [LLAMA, QWEN_MOE, DEEPSEEK], ids=["llama", "qwen3_moe", "deepseek_v3"])
def test_a_damaged_size_is_named(facts: dict[str, Any], key: str) -> None:
    missing = {name: value for name, value in facts.items() if name != key}
    for damaged in (missing, *({**facts, key: wrong} for wrong in WRONG)):
        with pytest.raises(ConfigError, match=key):
            model_from_facts(damaged, "config.json", "a model")


@pytest.mark.parametrize("facts", [LLAMA, QWEN_MOE, DEEPSEEK], ids=["llama", "qwen3_moe", "deepseek_v3"])
def test_any_damaged_key_is_read_or_refused(facts: dict[str, Any]) -> None:
    """Whatever a key holds, the answer is a model or a message that names the key."""
    more = {"rope_scaling": {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 4096}, "head_dim": 128,
            "layer_types": ["full_attention"] * facts["num_hidden_layers"], "sliding_window": 1024}  # fmt: skip
    for key in (*facts, *more):
        for wrong in WRONG:
            try:
                model_from_facts({**facts, **more, key: wrong}, "config.json", "a model")
            except SimError as error:
                assert key in str(error) or key in ("num_key_value_heads", "head_dim"), (key, wrong, str(error))


@pytest.mark.parametrize(
    ("facts", "words"),
    [
        ({"model_type": "bert"}, ["bert", "encoder"]),
        ({"model_type": "t5"}, ["t5", "encoder-decoder"]),
        ({**LLAMA, "model_type": "marian"}, ["marian", "encoder-decoder"]),
        ({**LLAMA, "is_encoder_decoder": True}, ["llama", "encoder-decoder"]),
        ({"model_type": "llada"}, ["llada", "diffusion"]),
        ({"model_type": "vit"}, ["vit", "tower"]),
        ({"model_type": "rwkv"}, ["rwkv"]),
        ({**LLAMA, "model_type": "llamma"}, ["llamma", "'llama'", "model.read_as=llama"]),
        ({"hidden_size": 8}, ["model_type is missing"]),
        ({**LLAMA, "model_type": ["llama"]}, ["model_type"]),
    ],
)
def test_a_type_that_is_not_modelled_is_refused_by_name(facts: dict[str, Any], words: list[str]) -> None:
    with pytest.raises(ConfigError) as error:
        model_from_facts(facts, "config.json", "a model")
    assert all(word in str(error.value) for word in words)


@pytest.mark.parametrize(("text", "message"), [("{", "not JSON"), ("[]", "JSON object"), ("[" * 10_000, "not JSON")])
def test_a_file_that_is_no_object_is_refused(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "config.json").write_text(text)
    with pytest.raises(ConfigError, match=message):
        model_from_hf_config(tmp_path)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="nowhere"):
        model_from_hf_config(tmp_path / "nowhere")
