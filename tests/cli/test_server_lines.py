"""A server's command line as configuration, the way back, and the deployments that are written."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import pytest
import yaml

from sim.cli.compose import composed_scenario
from sim.cli.export import exported
from sim.cli.lines import translate
from sim.cli.overrides import as_hydra_reads
from sim.errors import ConfigError, SimError
from sim.spec import EngineSpec
from sim.spec.kv_offload import KvOffloadSpec
from sim.spec.serve_line import serve_line
from tests.presets import model


@pytest.mark.parametrize(
    ("line", "engine"),
    [
        ("vllm serve org/M -tp 4 --max-model-len=32k --no-enable-prefix-caching",
         {"tensor_parallel_size": 4, "max_model_len": "32k", "enable_prefix_caching": False}),
        ("VLLM_USE_V1=1 vllm serve org/M -tp4 --enforce-eager --kv-cache-dtype fp8_e4m3",
         {"tensor_parallel_size": 4, "enforce_eager": True, "kv_cache_dtype": "fp8_e4m3"}),
        ("python3 -m vllm.entrypoints.openai.api_server --model org/M --max_num_seqs 64", {"max_num_seqs": 64}),
        ("docker run --gpus all -p 8000:8000 vllm/vllm-openai:v0.26.0 --model org/M --dtype half", {"version": "0.26.0"}),
        ("""vllm serve org/M -cc '{"cudagraph_capture_sizes": [1, 2, 4]}' --swap-space 16""", {"cudagraph_capture_sizes": [1, 2, 4]}),
        ("vllm serve org/M \\\n  --gpu-memory-utilization 0.8 \\\n  --limit-mm-per-prompt.image 0 --limit-mm-per-prompt.video 0",
         {"gpu_memory_utilization": 0.8, "language_model_only": True}),
        ("vllm serve org/M --cudagraph-capture-sizes 1 2 4 --port 1", {"cudagraph_capture_sizes": [1, 2, 4]}),
        ("vllm serve org/M --data-parallel-size 1 --cpu-offload-gb 0 --port 9000 --seed 7", {"data_parallel_size": 1}),
        ("""vllm serve org/M -dp 32 --enable-expert-parallel --enable-eplb --eplb-config '{"num_redundant_experts": 32}' """
         "--all2all-backend deepep_low_latency --enable-dbo --data-parallel-size-local 8 --data-parallel-address 10.0.0.1",
         {"data_parallel_size": 32, "enable_expert_parallel": True, "enable_eplb": True, "num_redundant_experts": 32,
          "all2all_backend": "deepep_low_latency", "enable_dbo": True}),
        ("""vllm serve org/M -sc '{"model": "a/EAGLE3-M", "num_speculative_tokens": 3, "synthetic_acceptance_length": 2.5}'""",
         {"speculative": {"method": "eagle3", "num_speculative_tokens": 3, "acceptance": {"length": 2.5}}}),
        ("""vllm serve org/M --speculative-config '{"method": "ngram", "num_speculative_tokens": 4, "prompt_lookup_max": 4}'""",
         {"speculative": {"method": "ngram", "num_speculative_tokens": 4}}),
        ("vllm serve org/M --enable-lora --lora-modules a=b c=d --max-lora-rank 64 --max-cpu-loras 8",
         {"max_loras": 1, "max_lora_rank": 64, "max_cpu_loras": 8}),
        ("vllm serve org/M --enable-lora --max-loras 4 --fully-sharded-loras", {"max_loras": 4, "fully_sharded_loras": True}),
        ("vllm serve org/M --max-loras 4", {}),
        ("vllm serve org/M --kv-offloading-size 20 --kv-offloading-backend native", {"kv_offloading_size_gib": 20.0}),
        ("""vllm serve org/M --kv-transfer-config '{"kv_connector": "OffloadingConnector", "kv_role": "kv_both",
         "kv_connector_extra_config": {"cpu_bytes_to_use": 21474836480, "eviction_policy": "arc"}}'""",
         {"kv_offloading_size_gib": 20.0, "kv_offload": {"eviction_policy": "arc"}}),
        ("python -m sglang.launch_server --model-path org/M --tp 2 --mem-fraction-static 0.85 --chunked-prefill-size 4096",
         {"tensor_parallel_size": 2, "gpu_memory_utilization": 0.85, "max_num_batched_tokens": 4096}),
        ("trtllm-serve org/M --tp_size 8 --max_batch_size 256 --max_num_tokens 8192 --backend pytorch",
         {"tensor_parallel_size": 8, "max_num_seqs": 256, "max_num_batched_tokens": 8192}),
    ],
)  # fmt: skip
def test_options_are_keys_of_the_engine(line: str, engine: dict[str, Any]) -> None:
    found = translate(line)
    assert (found.model, found.engine) == ("org/M", engine)


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("vllm serve org/M --kv-offloading-size 20 --kv-offloading-backend lmcache --cpu-offload-gb 4 --made-up 3 --port 1",
         ["lmcache", "cpu-offload-gb", "made-up"]),
        ("""vllm serve org/M --kv-transfer-config '{"kv_connector": "NixlConnector", "kv_role": "kv_both"}'""",
         ["NixlConnector", "roles"]),
        ("""vllm serve org/M --kv-transfer-config '{"kv_connector": "OffloadingConnector", "kv_role": "kv_both",
         "kv_connector_extra_config": {"cpu_bytes_to_use": 1000, "secondary_tiers": []}}'""", ["secondary_tiers"]),
        ("""vllm serve org/M --speculative-config '{"method": "medusa"}'""", ["speculative-config", "medusa", "eagle3"]),
        ("""vllm serve org/M -sc '{"method": "eagle", "speculative_token_tree": "x"}'""", ["speculative_token_tree"]),
        ("vllm serve org/M --dtype float32", ["dtype", "32-bit"]),
        ("vllm serve org/M -dp 2 --data-parallel-external-lb", ["data-parallel-external-lb", "endpoint"]),
        ("vllm serve", ["a model"]),
        ("vllm serve 'org/M", ["quot"]),
        ("ollama run org/M", ["vllm serve"]),
        ("vllm serve org/M other", ["other"]),
    ],
)  # fmt: skip
def test_what_is_not_modelled_is_refused_in_one_message(line: str, words: list[str]) -> None:
    with pytest.raises(ConfigError) as error:
        translate(line)
    assert all(word in str(error.value) for word in words)
    assert "port" not in str(error.value)


def test_a_line_is_a_configuration_and_what_is_stated_besides_wins(capsys: pytest.CaptureFixture[str]) -> None:
    line = "vllm serve meta-llama/Llama-3.1-8B-Instruct --max-num-seqs 64 --max-model-len 8192 --host 0.0.0.0"
    found = composed_scenario([f"vllm_line={line}", "gpu=h100"])
    assert (found.model.stack, found.engine.max_num_seqs, found.engine.max_model_len) == (model("llama3_8b").stack, 64, 8192)
    assert "without effect here: host" in capsys.readouterr().err
    assert composed_scenario(["--vllm", line, "engine.max_num_seqs=32"]).engine.max_num_seqs == 32
    eight = composed_scenario([f"--vllm={line.replace('Instruct', 'Instruct-FP8')}"])
    assert eight.model.weight_dtype == "fp8"
    assert composed_scenario(["vllm_line=python -m sglang.launch_server --model-path Qwen/Qwen3-8B"]).engine.name == "sglang"
    with pytest.raises(ConfigError, match="hf_config"):
        composed_scenario(["vllm_line=vllm serve nobody/knows-it"])
    with pytest.raises(ConfigError, match="--vllm"):
        as_hydra_reads(["--vllm"])


@pytest.mark.parametrize(
    "engine",
    [
        EngineSpec(), EngineSpec(version="0.12", tensor_parallel_size=2, max_num_seqs=64, max_model_len="auto"),
        EngineSpec(kv_cache_dtype="fp8", enable_prefix_caching=False, quantization="fp8", gpu_memory_utilization=0.8),
        EngineSpec(kv_offloading_size_gib=20),
        EngineSpec(kv_offloading_size_gib=0.5, kv_offload=KvOffloadSpec(store_threshold=2, prompt_only=True)),
    ],
)  # fmt: skip
def test_the_line_of_an_answer_means_the_same_engine(engine: EngineSpec) -> None:
    found = translate(serve_line(model("llama3_8b"), engine))
    assert found.model == "meta-llama/Llama-3.1-8B"
    assert EngineSpec(**{**found.engine, "version": engine.version}) == engine


@pytest.mark.parametrize("form", ["kubernetes", "llm-d", "dynamo"])
def test_exported_deployments_hold_the_fleet(form: str) -> None:
    scenario = composed_scenario(
        ["gpu=h100", "fleet.replicas=3", "engine.tensor_parallel_size=2", "engine.version='0.26.1'"]
    )
    documents = list(yaml.safe_load_all(exported(scenario, form)))
    text = str(documents)
    assert "meta-llama/Llama-3.1-8B" in text
    assert "'replicas': 3" in text
    assert "--tensor-parallel-size" in text
    if form == "kubernetes":
        assert documents[0]["spec"]["template"]["spec"]["containers"][0]["image"] == "vllm/vllm-openai:v0.26.1"
        assert documents[0]["spec"]["template"]["spec"]["containers"][0]["resources"]["limits"] == {"nvidia.com/gpu": 2}


def test_published_lines_give_an_answer_or_name_what_is_missing(shared: Path) -> None:
    folder = shared / "cases" / "models"
    with (folder / "command_lines.csv").open(newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            file_ = folder / "configs" / f"{row['model_config_used']}.json"
            words = [f"vllm_line={row['line']}", f"gpu={row['gpu']}"]
            try:
                composed_scenario([*words, f"model.hf_config={file_}"] if file_.exists() else words)
            except SimError as error:
                said = str(error)
                harmless = ("trust_remote_code", "tokenizer", "host", "served", "attention-backend", "swap", "disable")
                assert not any(word in said for word in harmless), said


@pytest.mark.parametrize("policy", ["priority", "earliest_deadline", "shortest_prompt"])
def test_an_order_of_ones_own_is_the_servers_priority_policy(policy: Any) -> None:
    line = serve_line(model("llama3_8b"), EngineSpec(scheduling_policy=policy))
    assert line.endswith("--scheduling-policy priority")


def test_a_server_of_several_machines_is_no_pod() -> None:
    with pytest.raises(ConfigError, match="16 h200 GPUs stand on 2 machines of 8"):
        exported(composed_scenario(["experiment=expert_parallel", "engine.data_parallel_size=16"]), "kubernetes")
    assert "data: 8" in exported(composed_scenario(["experiment=expert_parallel"]), "llm-d")
