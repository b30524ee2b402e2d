"""Parameters and KV bytes of the presets against published figures."""

from __future__ import annotations

import pytest

from sim.perf import kv_bytes_per_token, parameter_count
from tests.presets import gpu, model, names

PUBLISHED: list[tuple[str, float, float]] = [
    # preset, parameters in billions, KV bytes of a token in bf16
    ("llama2_7b", 6.738, 524_288),
    ("llama2_13b", 13.016, 819_200),
    ("llama2_70b", 68.977, 327_680),
    ("llama3_8b", 8.030, 131_072),
    ("llama3_70b", 70.554, 327_680),
    ("mixtral_8x7b", 46.703, 131_072),
    ("mixtral_8x22b", 140.63, 229_376),
    ("mistral_nemo_12b", 12.248, 163_840),
    ("codellama_34b", 33.744, 196_608),
    ("qwen2_5_7b", 7.616, 57_344),
    ("qwen3_8b", 8.191, 147_456),
    ("qwen3_14b", 14.768, 163_840),
    ("qwen3_32b", 32.762, 262_144),
    ("qwen3_30b_a3b", 30.532, 98_304),
    ("gemma3_12b", 11.766, 393_216),
    ("deepseek_v3", 671.026, 70_272),
    ("deepseek_v3_2", 671.878, 78_324),
    ("gpt_oss_20b", 20.908, 49_152),
    ("gpt_oss_120b", 116.789, 73_728),
    ("qwen3_next_80b_a3b", 79.674, 24_576),
    ("qwen3_5_27b", 27.356, 65_536),
    ("qwen3_235b_a22b", 235.094, 192_512),
    ("gemma3_27b", 27.43, 507_904),
    ("minimax_m2_5", 228.69, 253_952),
    ("nemotron3_nano_30b_a3b", 31.578, 6144),
    ("glm_5", 743.91, 100_152),
    ("kimi_k2_5", 1026.88, 70_272),
    ("mistral_small_3_1_24b", 24.011, 163_840),
    ("mistral_large_2411", 122.61, 360_448),
    ("mistral_large_3", 675.99, 70_272),
    ("mistral_large_4", 1051.79, 54 * (1152 + 132) + 9 * (1024 + 132) + 9 * 132),
    ("mistral_small_4", 119.40, 23_040),
    ("deepseek_v4_flash", 284.33, 1024 * (43 + 21 / 4 + 20 / 128) + 21 * 132 / 4),
    ("deepseek_v4_pro", 1573.0, 1024 * (61 + 30 / 4 + 31 / 128) + 30 * 132 / 4),
    ("llama3_3_70b", 70.554, 327_680),
]


@pytest.mark.parametrize("row", PUBLISHED, ids=[r[0] for r in PUBLISHED])
def test_geometry_gives_the_published_counts(row: tuple[str, float, float]) -> None:
    name, billions, kv_bytes = row
    assert parameter_count(model(name)) / 1e9 == pytest.approx(billions, rel=2e-4)
    assert kv_bytes_per_token(model(name), "bf16") == kv_bytes
    if all(
        getattr(group.attention, "index_top_k", 0) == 0 for group in model(name).stack
    ):  # sparse attention has formats of its own
        assert kv_bytes_per_token(model(name), "fp8") == kv_bytes / 2


def test_every_preset_is_read_and_named_as_its_file() -> None:
    assert [model(name).name for name in names("model")] == names("model")
    assert [gpu(name).name for name in names("gpu")] == names("gpu")
    for name in names("gpu"):
        price = gpu(name).price
        assert price.source, name
        assert gpu(name).source, name
        assert not price.known or price.date, name
    unpriced = {name for name in names("gpu") if not gpu(name).price.known}
    assert unpriced == {"h20", "h800", "a40", "mi325x", "mi355x", "gb10"}  # each says so where its source stands
