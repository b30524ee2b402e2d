"""Architectures, quantised checkpoints and servers of others: what the outside tables say, where they lie beside the checkout."""

from __future__ import annotations

import csv
import json
import re
from pathlib import Path
from statistics import median
from typing import Any

import pytest

from sim.errors import SimError
from sim.perf import kv_bytes_per_token, model_from_hf_config, parameter_count, resolve_engine
from sim.perf.geometry import kv_bytes_per_token_beyond_window, weights_bytes_per_gpu
from sim.perf.memory import arithmetic, memory_plan
from sim.trust.plain_overrides import parse_overrides
from sim.units import GIB

BESIDE = {
    "Qwen3-235B-A22B-NVFP4": {
        "quantization": {"quant_algo": "NVFP4", "kv_cache_quant_algo": "FP8", "exclude_modules": ["lm_head"]}
    },
    "Llama-3.1-70B-Instruct-FP8": {"quantization": {"quant_algo": "FP8", "exclude_modules": ["lm_head"]}},
}
"""``hf_quant_config.json`` of the two checkpoints that state their quantisation nowhere else."""


@pytest.fixture
def cases(shared: Path) -> Path:
    return shared / "cases" / "models"


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_architectures_are_right_or_refused(cases: Path) -> None:
    right, wrong = 0, []
    for row in rows(cases / "arch_cases.csv"):
        try:
            found = model_from_hf_config(cases / "configs" / f"{row['config']}.json")
        except SimError:
            continue
        cache = [int(number) for number in re.findall(r"\d+", row["kv_true"])]
        mine = [kv_bytes_per_token(found, "bf16"), kv_bytes_per_token_beyond_window(found, "bf16")]
        off = abs(parameter_count(found) / 1e9 / float(row["params_true_b"] or "inf") - 1)
        if (row["params_true_b"] and off > 0.01) or mine[: len(cache)] != cache:
            wrong.append((row["config"], parameter_count(found) / 1e9, row["params_true_b"], mine, cache))
        elif row["params_true_b"]:
            right += 1
    assert wrong == []
    assert right >= 103


def test_quantised_checkpoints_weigh_what_they_weigh(cases: Path, tmp_path: Path) -> None:
    for row in rows(cases / "quant_cases.csv"):
        folder = tmp_path / row["config"]
        folder.mkdir()
        (folder / "config.json").write_bytes((cases / "configs" / f"{row['config']}.json").read_bytes())
        if row["config"] in BESIDE:
            (folder / "hf_quant_config.json").write_text(json.dumps(BESIDE[row["config"]]))
        ranks = 8 if "TP 8" in row["quantisation"] else 1
        weights = weights_bytes_per_gpu(model_from_hf_config(folder), ranks) / GIB
        assert weights == pytest.approx(float(row["weights_true_gib"]), rel=0.03), row["config"]


def test_kv_tokens_of_servers_that_loaded_what_their_file_says(cases: Path) -> None:
    """Rows whose recorded weights are within 2 % of the file's: elsewhere the server ran something else (an adapter, a draft
    model, a pooling model without a head, no tower, another checkpoint)."""
    errors, near = [], 0
    for row in rows(cases / "kv_cases.csv"):
        version = tuple(int(part) for part in re.findall(r"\d+", row["vllm"])[:2])
        known = row["gpu_total_from"] in ("log", "repo", "issue", "log of sibling")
        if version < (0, 10) or row["caveat"] or not known or not row["recorded_kv_tokens"]:
            continue
        plan = plan_of(row, cases)
        weights = plan.weights_bytes_per_gpu / GIB
        if abs(weights / float(row["recorded_weights_gib"] or weights) - 1) > 0.02:
            continue
        tokens = plan.layout.tokens(plan.num_gpu_blocks, plan.max_model_len)
        errors.append(abs(tokens / int(row["recorded_kv_tokens"]) - 1))
        pool = plan.kv_pool_bytes / GIB - float(row["recorded_available_gib"] or "nan")
        near += errors[-1] <= 0.04 or abs(pool) <= 0.4
    assert len(errors) >= 14
    assert median(errors) <= 0.015
    assert near / len(errors) >= 0.9


def test_servers_that_start_and_servers_that_do_not(cases: Path) -> None:
    right = []
    for row in rows(cases / "kv_cases.csv"):
        version = tuple(int(part) for part in re.findall(r"\d+", row["vllm"])[:2])
        if version < (0, 10) or row["caveat"]:
            continue
        try:
            memory_plan(*plan_arguments(row, cases))
            started = True
        except SimError:
            started = False
        right.append(started == (row["recorded"] == "started"))
    assert sum(right) / len(right) >= 0.9


def plan_of(row: dict[str, str], cases: Path) -> Any:
    return arithmetic(*plan_arguments(row, cases))


def plan_arguments(row: dict[str, str], cases: Path) -> Any:
    stated = [
        word for word in row["version_settings"].split() if "max_num" in word
    ]  # what the release itself says is not stated
    words = [
        *row["gpu_overrides"].split(), *row["flags"].split(), *stated, f"engine.version={row['vllm']}",
        f"engine.tensor_parallel_size={row['tp']}", f"model.hf_config={cases / 'configs' / row['model']}.json",
    ]  # fmt: skip
    model, gpu, engine = parse_overrides(words)
    return model, gpu, resolve_engine(engine, model, gpu)
