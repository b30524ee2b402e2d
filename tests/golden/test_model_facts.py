"""Parameters and KV bytes of the presets against published figures."""

from __future__ import annotations

import pytest

from sim.perf import kv_bytes_per_token, parameter_count
from tests.presets import gpu, model, names

PUBLISHED = [
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
]


@pytest.mark.parametrize("row", PUBLISHED, ids=[r[0] for r in PUBLISHED])
def test_geometry_gives_the_published_counts(row: tuple[str, float, int]) -> None:
    name, billions, kv_bytes = row
    assert parameter_count(model(name)) / 1e9 == pytest.approx(billions, rel=2e-4)
    assert kv_bytes_per_token(model(name)) == kv_bytes
    assert kv_bytes_per_token(model(name), "fp8") == kv_bytes / 2


def test_every_preset_is_read_and_named_as_its_file() -> None:
    assert [model(name).name for name in names("model")] == names("model")
    assert [gpu(name).name for name in names("gpu")] == names("gpu")
    for name in names("gpu"):
        price = gpu(name).price
        assert price.on_demand_usd_per_hour is not None, name
        assert price.source, name
        assert price.date, name
