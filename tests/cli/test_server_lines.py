"""A server's command line as configuration, the way back, and the deployments that are written."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from sim.cli.compose import composed_scenario
from sim.cli.export import exported
from sim.cli.job import solve_and_write
from sim.cli.lines import translate
from sim.cli.lines.model_names import model_of
from sim.cli.overrides import as_hydra_reads
from sim.errors import ConfigError, SimError
from sim.perf.hf_config.read import model_from_data
from sim.spec import EngineSpec
from sim.spec.kv_offload import KvOffloadSpec
from sim.spec.serve_line import serve_line
from sim.spec.served_fleet import server_lines
from tests.presets import model, names


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
        ("vllm serve org/M --kv-offloading-size 20 --kv-offloading-backend lmcache",
         {"kv_offloading_size_gib": 20.0, "kv_offload": {"backend": "lmcache"}}),
        ("""vllm serve org/M --kv-transfer-config '{"kv_connector": "OffloadingConnector", "kv_role": "kv_both",
         "kv_connector_extra_config": {"cpu_bytes_to_use": 21474836480, "eviction_policy": "arc"}}'""",
         {"kv_offloading_size_gib": 20.0, "kv_offload": {"eviction_policy": "arc"}}),
        ("python -m sglang.launch_server --model-path org/M --tp 2 --mem-fraction-static 0.85 --chunked-prefill-size 4096",
         {"tensor_parallel_size": 2, "gpu_memory_utilization": 0.85, "max_num_batched_tokens": 4096}),
        ("vllm serve --trust-remote-code --enable-prefix-caching org/M --served-model-name a b > log 2>&1 &",
         {"enable_prefix_caching": True, "cache_state_prefixes": True}),
        ("pip install vllm && CUDA_VISIBLE_DEVICES=0 vllm serve org/M -tp=2; echo done", {"tensor_parallel_size": 2}),
        ("bash -c 'nohup vllm serve org/M --max-num-seqs 32 2>&1 | tee log'", {"max_num_seqs": 32}),
        ("docker run rocm/vllm-dev:nightly python -m vllm.entrypoints.openai.api_server --model org/M -tp 8",
         {"tensor_parallel_size": 8}),
        ("docker run --entrypoint vllm vllm/vllm-openai:v0.10.2 serve org/M", {"version": "0.10.2"}),
        ("docker run nvcr.io/nvidia/vllm:25.09-py3 vllm serve org/M", {}),
        ('["--model", "org/M", "--max-model-len", 8192]', {"max_model_len": 8192}),
        ("- --model=org/M\n- --no-async-scheduling", {"async_scheduling": False}),
        ("--model org/M --mamba_ssm_cache_dtype float32 --mm-encoder-tp-mode data --disable-hybrid-kv-cache-manager",
         {"mamba_ssm_cache_dtype": "float32", "mm_encoder_tp_mode": "data", "disable_hybrid_kv_cache_manager": True}),
        ("VLLM_MEMORY_PROFILER_ESTIMATE_CUDAGRAPHS=0 vllm serve org/M", {"estimate_cudagraph_memory": False}),
        ("vllm serve org/M --spec-method ngram --spec-tokens 4 -O0 --skip-mm-profiling --enable-flashinfer-autotune",
         {"speculative": {"method": "ngram", "num_speculative_tokens": 4}, "enforce_eager": True, "skip_mm_profiling": True}),
        ("vllm serve org/M --limit-mm-per-prompt image=0,video=0", {"language_model_only": True}),
        ("vllm serve org/M --cudagraph-capture-sizes '[1, 2]'  # vLLM 0.26", {"version": "0.26", "cudagraph_capture_sizes": [1, 2]}),
        ("docker run lmsysorg/sglang:v0.5.3 python3 -m sglang.launch_server --model-path org/M --disable-radix-cache",
         {"enable_prefix_caching": False}),
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
        ("vllm serve org/M --kv-offloading-size 20 --kv-offloading-backend flexkv --cpu-offload-gb 4 --made-up 3 --port 1",
         ["lmcache", "cpu-offload-gb", "made-up"]),
        ("""vllm serve org/M --kv-transfer-config '{"kv_connector": "NixlConnector", "kv_role": "kv_both"}'""",
         ["NixlConnector", "roles"]),
        ("""vllm serve org/M --kv-transfer-config '{"kv_connector": "OffloadingConnector", "kv_role": "kv_both",
         "kv_connector_extra_config": {"cpu_bytes_to_use": 1000, "secondary_tiers": []}}'""", ["secondary_tiers"]),
        ("""vllm serve org/M --speculative-config '{"method": "medusa"}'""", ["speculative-config", "medusa", "eagle3"]),
        ("""vllm serve org/M -sc '{"method": "eagle", "speculative_token_tree": "x"}'""", ["speculative_token_tree"]),
        ("vllm serve org/M --dtype float32", ["dtype", "32-bit"]),
        ("vllm serve org/M --runner pooling --scheduler-cls my.Own", ["runner", "scheduler-cls"]),
        ("vllm serve org/M --load-format gguf --tensor-parallel-size", ["GGUF", "needs a value"]),
        ("VLLM_USE_V1=0 vllm serve org/M", ["before V1"]),
        ("vllm serve org/M --config no/such.yaml", ["no/such.yaml"]),
        ("vllm bench serve --model org/M", ["vllm serve MODEL"]),
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


def test_options_of_a_file_stand_under_those_of_the_line(tmp_path: Path) -> None:
    file = tmp_path / "serve.yaml"
    file.write_text("model: org/M\ntensor-parallel-size: 2\nmax-model-len: 16k\nport: 1\n")
    found = translate(f"vllm serve --config {file} --max-model-len 8192")
    assert (found.model, found.engine) == ("org/M", {"tensor_parallel_size": 2, "max_model_len": 8192})
    file.write_text("- a list")
    with pytest.raises(ConfigError, match="options by name"):
        translate(f"vllm serve --config {file}")


OPTIONS: dict[str, Any] = {
    "version": ["0.10", "0.17.1", "0.26", "0.33"], "max_num_seqs": [1, 64], "max_num_batched_tokens": [256, 8192],
    "max_num_active_seqs": [1, 8], "max_num_scheduled_tokens": [256], "max_model_len": ["auto", 4096, "128k"],
    "block_size": [16, 256], "gpu_memory_utilization": [0.123456, 0.9, 1.0], "num_gpu_blocks_override": [1000],
    "kv_cache_memory_bytes": ["20G"], "kv_cache_dtype": ["auto", "fp8", "bf16", "fp16"],
    "quantization": ["fp8", "fp4", "int8_weight_only", "nf4"], "language_model_only": [True, False],
    "performance_mode": ["throughput"], "mm_encoder_tp_mode": ["data"], "skip_mm_profiling": [True], "dp_sync_interval": [4], "disable_hybrid_kv_cache_manager": [True],
    "mamba_ssm_cache_dtype": ["fp32", "bf16"], "max_cudagraph_capture_size": [0, 64], "cudagraph_capture_sizes": [(1, 2)],
    "enable_prefix_caching": [True, False], "enable_chunked_prefill": [True, False], "watermark": [0.01],
    "long_prefill_token_threshold": [64], "long_prefill_token_threshold_adaptive": [True],
    "scheduling_policy": ["priority"], "scheduler_reserve_full_isl": [True, False], "prefill_schedule_interval": [4],
    "async_scheduling": [True, False], "enforce_eager": [True], "estimate_cudagraph_memory": [True, False],
    "tensor_parallel_size": [1, 8], "pipeline_parallel_size": [2], "data_parallel_size": [4],
    "enable_expert_parallel": [True], "all2all_backend": ["deepep_low_latency"], "max_loras": [3], "max_cpu_loras": [4],
    "kv_offloading_size_gib": [20.5], "kv_offload": [KvOffloadSpec(store_threshold=2, prompt_only=True), KvOffloadSpec(backend="lmcache"), KvOffloadSpec(chunk_tokens=256)],
}  # fmt: skip


@settings(max_examples=60, deadline=None)
@given(
    name=st.sampled_from(names("model")),
    options=st.fixed_dictionaries({}, optional={name: st.sampled_from(values) for name, values in OPTIONS.items()}),
)
def test_the_line_of_an_answer_means_the_same_model_and_engine(name: str, options: dict[str, Any]) -> None:
    try:
        engine = EngineSpec(**options)
    except ValueError:  # together they are no engine
        return
    spec = model(name)
    found = translate(serve_line(spec, engine))
    back = EngineSpec(**found.engine)
    if spec.weight_dtype not in ("bf16", "fp16"):  # loaded in the checkpoint's own types all the same
        back = replace(back, quantization=engine.quantization)
    if spec.has_states and not engine.cache_state_prefixes:  # off whatever is stated but `--enable-prefix-caching`
        back = replace(back, enable_prefix_caching=engine.enable_prefix_caching)
    if not engine.max_loras:
        back = replace(back, max_cpu_loras=engine.max_cpu_loras)
    if not engine.kv_offloading_size_gib:
        back = replace(back, kv_offload=engine.kv_offload)
    assert back == engine
    again = model_from_data(model_of(found.model)[0])
    assert (again.stack, again.towers, again.weight_dtype, again.max_context) == (
        spec.stack, spec.towers, spec.weight_dtype, spec.max_context,
    )  # fmt: skip


@pytest.mark.parametrize(
    "stated", [{}, {"gpu_memory_utilization": 0.92}, {"enable_prefix_caching": False}, {"block_size": 16}]
)
def test_another_server_s_line_means_the_same_engine(stated: dict[str, Any]) -> None:
    engine = composed_scenario(["engine=sglang", *(f"engine.{key}={value}" for key, value in stated.items())]).engine
    line = serve_line(model("qwen3_8b"), engine)
    assert composed_scenario([f"vllm_line={line}"]).engine == engine
    other = composed_scenario(["engine=tensorrt_llm", "engine.enforce_eager=true"]).engine
    assert "no option of it: enforce_eager=True" in serve_line(model("qwen3_8b"), other)


def test_types_of_the_weights_are_in_the_line() -> None:
    line = serve_line(replace(model("qwen3_8b"), weight_dtype="fp8"), EngineSpec())
    assert line == "vllm serve Qwen/Qwen3-8B --quantization fp8"
    assert "# weights in int4" in serve_line(replace(model("qwen3_8b"), weight_dtype="int4"), EngineSpec())
    assert serve_line(model("gpt_oss_20b"), EngineSpec()) == "vllm serve openai/gpt-oss-20b"


@pytest.mark.parametrize(
    ("name", "preset", "dtype"),
    [
        ("deepseek-ai/DeepSeek-V3", "deepseek_v3", "fp8"), ("deepseek-ai/DeepSeek-V3.2", "deepseek_v3_2", "fp8"),
        ("deepseek-ai/DeepSeek-R1-0528", "deepseek_v3", "fp8"), ("unsloth/gpt-oss-20b-BF16", "gpt_oss_20b", "bf16"),
        ("amd/gpt-oss-120b-w-mxfp4-a-fp8", "gpt_oss_120b", "mxfp4"), ("Qwen/Qwen3-30B-A3B", "qwen3_30b_a3b", "bf16"),
        ("Qwen/Qwen3-30B-A3B-Thinking-2507-FP8", "qwen3_30b_a3b_2507", "fp8"),
        ("nvidia/NVIDIA-Nemotron-3-Nano-30B-A3B-FP8", "nemotron3_nano_30b_a3b", "fp8"),
        ("mistralai/Mistral-Large-3-675B-Instruct-2512-NVFP4", "mistral_large_3", "fp4"),
    ],
)  # fmt: skip
def test_names_mean_the_preset_of_that_very_model(name: str, preset: str, dtype: str) -> None:
    data, _ = model_of(name)
    assert (data["name"], model_from_data(data).weight_dtype) == (preset, dtype)
    for other in ("meta-llama/Meta-Llama-3-8B-Instruct", "deepseek-ai/DeepSeek"):
        with pytest.raises(ConfigError, match="no preset"):
            model_of(other)


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


def test_a_pool_that_hands_kv_over_is_started_with_its_role() -> None:
    words = ["fleet=disaggregated", "gpu=h100", "fleet.pools.prefill.replicas=2", "engine.kv_connector.lease_s=60"]
    prefill, decode = server_lines(composed_scenario(words))
    assert '"kv_connector": "NixlConnector", "kv_role": "kv_producer"' in prefill
    assert '"kv_role": "kv_consumer", "kv_connector_extra_config": {"kv_lease_duration": 60.0}' in decode
    push = [*words, "gateway.disaggregation={kind: always, protocol: push}"]
    assert all("MoRIIOConnector" in line for line in server_lines(composed_scenario(push)))
    first = [*words, "gateway.disaggregation={kind: always, protocol: reserve_first}"]
    assert all("no option of it: KV handed over reserve_first" in line for line in server_lines(composed_scenario(first)))
    with pytest.raises(ConfigError, match="reserve_first: export writes vLLM's"):
        exported(composed_scenario(first), "kubernetes")
    with pytest.raises(ConfigError, match=r"engine=sglang: export writes pools with roles .prefill: prefill. for vLLM alone"):
        exported(composed_scenario(["fleet=disaggregated", "gpu=h100", "engine=sglang"]), "kubernetes")


def test_equal_pools_are_one_line() -> None:
    words = ["fleet.pools.first.replicas=1", "fleet.pools.second={replicas: 1, market: spot}", "spot=aws"]
    assert list(server_lines(composed_scenario(words)).values()) == ["first, second"]


def test_prefill_and_decode_are_deployed_together() -> None:
    scenario = composed_scenario(["fleet=disaggregated", "gpu=h100", "fleet.pools.prefill.replicas=2"])
    (values,) = yaml.safe_load_all(exported(scenario, "llm-d"))
    assert [values[part]["replicas"] for part in ("prefill", "decode")] == [2, 1]
    (graph,) = yaml.safe_load_all(exported(scenario, "dynamo"))
    services = graph["spec"]["services"]
    assert set(services) == {"Frontend", "VllmPrefillWorker", "VllmDecodeWorker"}
    assert services["VllmPrefillWorker"]["replicas"] == 2 and services["VllmPrefillWorker"]["subComponentType"] == "prefill"
    roles = [one["metadata"]["labels"].get("role") for one in yaml.safe_load_all(exported(scenario, "kubernetes"))]
    assert roles == ["prefill", "prefill", "decode", "decode"]
    two = composed_scenario(["fleet=disaggregated", "gpu=h100", "fleet.pools.more={role: decode}"])
    with pytest.raises(ConfigError, match=r"one prefill and one decode pool, but got .*more \(decode\)"):
        exported(two, "dynamo")


def test_a_page_names_every_server_gpu_and_model_of_its_fleet(tmp_path: Path) -> None:
    words = ["+fleet.pools={big: {gpu: h100, model: qwen3_14b}, small: {gpu: a100_80}}", "workload.limit=50"]
    outcome = solve_and_write(composed_scenario([*words, "search.solve=none"]), "none", tmp_path, tuple(words), "")
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert list(outcome.servers.values()) == ["big", "small"] and outcome.facts()["server"] in outcome.servers
    for said in ("Server of big", "Server of small", "Qwen/Qwen3-14B", "meta-llama/Llama-3.1-8B", "h100: $", "a100_80: $"):
        assert said in page
    assert "<h1>qwen3_14b and llama3_8b on big: 1 x h100 + small: 1 x a100_80" in page and "l40s" not in page
