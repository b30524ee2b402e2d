"""The optional table builder: its grid is the one that the shipped tables were fitted to. Needs the extra ``aic``."""

from __future__ import annotations

import sys
from pathlib import Path

import pandas as pd
import pytest

from sim.cli.compose import composed_scenario
from sim.perf.table import find_table

pytest.importorskip("aiconfigurator_core", reason="the extra aic is not installed: pip install 'servecap[aic]'")
FOLDER = Path(__file__).parents[2] / "experiments" / "step_time_fit"


@pytest.fixture
def aic_table(monkeypatch: pytest.MonkeyPatch) -> object:
    monkeypatch.syspath_prepend(str(FOLDER))
    yield __import__("aic_table")
    for name in ("aic_table", "fit_tables"):
        sys.modules.pop(name, None)


@pytest.mark.parametrize(
    ("checkpoint", "tensor_parallel", "dtypes", "name"),
    [
        ("meta-llama/Meta-Llama-3.1-8B", 1, ("bf16", "bf16"), "bf16"),
        ("meta-llama/Meta-Llama-3.1-70B", 4, ("fp8", "fp8"), "fp8-kvfp8"),
        ("Qwen/Qwen3-30B-A3B", 1, ("bf16", "bf16"), "bf16"),
    ],
)
def test_the_grid_is_that_of_the_shipped_tables(
    aic_table: object, shared: Path, checkpoint: str, tensor_parallel: int, dtypes: tuple[str, str], name: str
) -> None:
    known = pd.read_csv(shared / "steptime" / "aic_steptime_grid.csv")
    known = known[
        (known.system == "h100_sxm") & (known.model == checkpoint) & (known.tp == tensor_parallel)
        & (known.dtype == name) & (known.backend == "vllm")
    ]  # fmt: skip
    engine = aic_table.engine_of("h100_sxm", checkpoint, tensor_parallel, dtypes, "A3B" in checkpoint)  # type: ignore[attr-defined]
    keys = ["phase", "batch", "new_tokens", "prefix_len", "kv_len"]
    both = aic_table.grid(engine).merge(known, on=keys, suffixes=("", "_known"))  # type: ignore[attr-defined]
    assert len(both) == len(known) == 165
    error = (both.latency_ms / both.latency_ms_known - 1).abs()
    assert error.max() < 0.01, both.assign(error=error).nlargest(5, "error")[[*keys, "error"]].to_string()


def test_a_made_table_is_the_shipped_one(aic_table: object) -> None:
    scenario = composed_scenario(["gpu=h100", "model=llama3_8b"])
    made = aic_table.entry(scenario)  # type: ignore[attr-defined]
    shipped = find_table(scenario.model, scenario.gpu, scenario.engine)
    assert shipped is not None
    assert made["tokens"] == list(shipped[0].tokens)
    ours, theirs = [1e-3 * t for t in made["nonattention_ms"]], shipped[0].nonattention_s
    assert ours == pytest.approx(list(theirs), rel=0.02)
