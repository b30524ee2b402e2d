"""KV blocks that servers resolved (``kv_capacity.csv``) against the memory arithmetic."""

from __future__ import annotations

import csv
import re
from pathlib import Path

from sim.errors import TraceError
from sim.perf import memory_plan, resolve_engine
from sim.presets.read import preset_gpu, preset_model
from sim.trust.presets import engine_of_version, find_preset
from sim.trust.validation_table import ErrorRow


def kv_rows(path: Path) -> list[ErrorRow]:
    """One error a row of ``path``.

    Raises:
        TraceError: the file cannot be read, or a row lacks a column.
    """
    try:
        with path.open(newline="", encoding="utf-8") as file:
            return [_row(row) for row in csv.DictReader(file)]
    except (OSError, KeyError, ValueError) as error:
        raise TraceError(f"{path}: not a table of KV capacities ({error})") from None


def _row(row: dict[str, str]) -> ErrorRow:
    model, gpu = preset_model(find_preset(row["model"], "model")), preset_gpu(find_preset(row["gpu"], "gpu"))
    engine = engine_of_version(
        tuple(int(part) for part in re.findall(r"\d+", row["vllm_version"])),
        tensor_parallel_size=int(row["tp"]),
        max_num_batched_tokens=int(row["max_num_batched_tokens"]),
        max_num_seqs=int(row["max_num_seqs"]),
        max_model_len=int(row["max_model_len"]),
        gpu_memory_utilization=float(row["gpu_memory_utilization"]),
        block_size=int(row["block_size"]),
    )
    plan = memory_plan(model, gpu, resolve_engine(engine, model, gpu))
    return ErrorRow(
        case=f"{model.name} {row['max_num_batched_tokens']} tokens", group="KV capacity", model=model.name, gpu=gpu.name,
        gpus=int(row["tp"]), stage="all", regime="memory", step_time="", metric="kv_blocks", statistic="count",
        unit="blocks", measured=float(row["num_gpu_blocks"]), predicted=float(plan.num_gpu_blocks),
    )  # fmt: skip
