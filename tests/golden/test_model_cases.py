"""Architectures, quantised checkpoints and servers of others: what the outside tables say, where they lie beside the checkout."""

from __future__ import annotations

import csv
import json
import re
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import pytest

from sim.errors import SimError
from sim.perf import kv_bytes_per_token, model_from_hf_config, parameter_count, resolve_engine
from sim.perf.geometry import kv_bytes_per_token_beyond_window, weights_bytes_per_gpu
from sim.perf.memory import arithmetic, memory_plan
from sim.spec import EngineSpec
from sim.trust.plain_overrides import parse_overrides
from sim.units import GIB
from tests.presets import gpu, model

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


class Server(NamedTuple):
    """A row of ``kv_cases.csv`` beside its prediction."""

    error: float
    """Of the KV tokens, as a share."""
    pool_gib: float
    """Predicted less recorded."""
    weights_gib: float
    recorded_weights_gib: float

    @property
    def near(self) -> bool:
        return self.error <= 0.04 or abs(self.pool_gib) <= 0.4


ELSEWHERE = {
    "L11": "GB10: the CPU's memory is the GPU's, so what the system reads counts as used: 1.3 GiB more than elsewhere; the same "
    "arithmetic meets gpt-oss-120b on an H100 within 0.2 GiB (vllm-project/vllm#23278)",
    "L26": "an AWQ checkpoint (4.25 GiB; the row's file is the fp16 one, 13.2)",
    "L28": "another NVFP4 checkpoint: 15.9 GiB where the row's file gives 17.5, and its cache was of 16 bits",
    "L29": "with a draft layer (weights 3.2 GiB above the file's), whose flag is not in the row",
    "L43": "without its vision tower: what the log leaves beside weights and pool is less than the tower's pass alone",
    "L46": "the same",
    "L48": "with LoRA adapters, of which the row's flags do not say how many",
}
"""Rows of the bar that miss it, and what the log shows that the server ran besides what the row says."""


def test_kv_tokens_of_servers_with_a_release_their_memory_and_no_caveat(cases: Path) -> None:
    servers = {row["id"]: server_of(row, cases) for row in rows(cases / "kv_cases.csv") if in_the_bar(row)}
    assert len(servers) == 23
    assert {name for name, server in servers.items() if not server.near} == set(ELSEWHERE)
    assert median(server.error for server in servers.values()) <= 0.015
    assert median(server.error for name, server in servers.items() if name not in ELSEWHERE) <= 0.004


@pytest.mark.parametrize(
    ("server", "overrides", "percent"),
    [
        ("L26", "model.weight_dtype=int4", 6.5),
        ("L28", "engine.kv_cache_dtype=bf16", 1.5),
        ("L43", "engine.language_model_only=true", 1.0),
        ("L46", "engine.language_model_only=true", 1.5),
    ],
)
def test_servers_are_met_with_what_they_ran(server: str, overrides: str, percent: float, cases: Path) -> None:
    row = next(row for row in rows(cases / "kv_cases.csv") if row["id"] == server)
    found = server_of({**row, "flags": f"{row['flags']} {overrides}"}, cases)
    assert found.error <= percent / 100


def test_what_the_logs_of_the_others_show(cases: Path) -> None:
    table = {row["id"]: row for row in rows(cases / "kv_cases.csv")}
    for name in ("L43", "L46"):  # usable - weights - pool is what all passes took together
        plan, row = plan_of(table[name], cases), table[name]
        left = plan.usable_bytes / GIB - float(row["recorded_weights_gib"]) - float(row["recorded_available_gib"])
        assert left < next(term.bytes for term in plan.terms if term.name.startswith("towers")) / GIB
    drafting = server_of(table["L29"], cases)
    assert drafting.recorded_weights_gib - drafting.weights_gib > 3.0
    adapters = server_of(table["L48"], cases)
    graphs = float(table["L48"]["recorded_graph_estimate_gib"])
    assert adapters.pool_gib - graphs > 4.0  # neither weights nor graphs: slots


def in_the_bar(row: dict[str, str]) -> bool:
    version = tuple(int(part) for part in re.findall(r"\d+", row["vllm"])[:2])
    known = row["gpu_total_from"] in ("log", "repo", "issue", "log of sibling")
    return version >= (0, 10) and not row["caveat"] and known and bool(row["recorded_kv_tokens"])


def server_of(row: dict[str, str], cases: Path) -> Server:
    plan = plan_of(row, cases)
    weights = plan.weights_bytes_per_gpu / GIB
    tokens = plan.layout.tokens(plan.num_gpu_blocks, plan.max_model_len)
    return Server(
        abs(tokens / int(row["recorded_kv_tokens"]) - 1),
        plan.kv_pool_bytes / GIB - float(row["recorded_available_gib"] or "nan"),
        weights,
        float(row["recorded_weights_gib"] or weights),
    )


def test_gpt_oss_120b_leaves_no_pool_on_one_h100_as_its_log_says() -> None:
    """vllm-project/vllm#23278: 65.97 GiB of weights, -2.14 GiB available."""
    spec, one = model("gpt_oss_120b"), gpu("h100")
    plan = arithmetic(spec, one, resolve_engine(EngineSpec(version="0.10.1"), spec, one))
    assert plan.weights_bytes_per_gpu / GIB == pytest.approx(65.97, abs=0.3)
    assert plan.kv_pool_bytes / GIB == pytest.approx(-2.14, abs=0.4)


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
