"""A file of one's own step-time tables: found by geometry, asked first, refused with one message when it is not one."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from sim.cli.compose import composed_scenario
from sim.errors import ConfigError
from sim.perf import resolve_engine, step_time_model
from sim.perf.table import entry_key, find_table
from sim.perf.tabulated import StepTables
from tests.laws.test_engine import asked

SCENARIO = asked()
TABLE = {
    "tokens": [1, 1000], "nonattention_ms": [50.0, 500.0], "decode_seqs": [1, 100], "decode_context_tokens": [100, 1000],
    "decode_attention_ms": [[0.1, 1.0], [10.0, 100.0]], "prefill_tokens": [16, 1024], "prefill_pair_ps": [1.0, 1.0],
    "vllm": "0.0",
}  # fmt: skip


def written(folder: Path, **changes: object) -> str:
    path = folder / "tables.json"
    key = entry_key(SCENARIO.model, SCENARIO.gpu, SCENARIO.engine)
    path.write_text(json.dumps({"head": {}, "entries": [{**key, **TABLE, **changes}]}))
    return str(path)


def found(path: str, **engine: object) -> str:
    table = find_table(SCENARIO.model, SCENARIO.gpu, replace(SCENARIO.engine, step_time_file=path, **engine))
    return "none" if table is None else table[1]


def test_ones_own_table_is_asked_before_the_shipped_one(tmp_path: Path) -> None:
    assert "vLLM 0.0" in found(written(tmp_path))
    table = find_table(SCENARIO.model, SCENARIO.gpu, replace(SCENARIO.engine, step_time_file=written(tmp_path)))
    assert table is not None
    assert table[0].nonattention_s[-1] == pytest.approx(0.5)


def test_all_of_ones_own_table_is_used(tmp_path: Path) -> None:
    """Its decode attention, too; times of served steps are taken as they are."""

    def steps(path: str) -> StepTables:
        engine = replace(SCENARIO.engine, step_time_file=path)
        return step_time_model(SCENARIO.model, SCENARIO.gpu, resolve_engine(engine, SCENARIO.model, SCENARIO.gpu)).tables

    kernels = steps(written(tmp_path))
    assert kernels.decode_context_tokens == (100, 1000)
    assert kernels.decode_attention_s[0][1] == pytest.approx(1e-3)
    assert steps(written(tmp_path, served=True)).nonattention_s[0] == pytest.approx(0.050)
    assert kernels.nonattention_s[0] != pytest.approx(0.050)


def test_a_table_made_for_another_geometry_or_parallelism_is_left_alone(tmp_path: Path) -> None:
    assert "vLLM 0.0" not in found(written(tmp_path, geometry=[1, 2, 3, 4, 5, 6, 7, 8]))
    assert "vLLM 0.0" not in found(written(tmp_path), tensor_parallel_size=2)


@pytest.mark.parametrize("text", ["", "{}", '{"entries": [{"gpu": "h100"}]}', "[1]"])
def test_a_file_without_tables_is_refused_by_name(tmp_path: Path, text: str) -> None:
    path = tmp_path / "other.json"
    path.write_text(text)
    with pytest.raises(ConfigError, match=r"engine.step_time_file.*other\.json"):
        found(str(path))


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"engine\.step_time_file"):
        found(str(tmp_path / "nowhere.json"))


def test_a_shipped_table_is_not_used_on_another_link() -> None:
    """The all-reduce is in the tables: H100s on PCIe are the roofline's."""
    nvlink, pcie = (
        composed_scenario(["gpu=h100", *more]) for more in ([], ["gpu.link=pcie", "gpu.link_gb_s_per_direction=55"])
    )
    assert find_table(nvlink.model, nvlink.gpu, nvlink.engine) is not None
    assert find_table(pcie.model, pcie.gpu, pcie.engine) is None
