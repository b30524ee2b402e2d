"""KV blocks that real vLLM servers resolved, against the memory arithmetic: within 3 %.

The rows are measurements (vLLM logs of 0.11-0.19); gpu_memory_utilization 0.9, no CUDA-graph estimate before 0.21.
"""

from __future__ import annotations

import pytest

from sim.perf import memory_plan, resolve_engine
from sim.spec import EngineSpec
from tests.presets import gpu, model

ROWS = [
    # model, gpu, TP, token budget, sequences, max_model_len, blocks
    ("codellama_34b", "h100", 1, 64, 32, 8192, 2790),
    ("codellama_34b", "h100", 1, 4096, 256, 4096, 2537),
    ("llama2_7b", "h100", 1, 4096, 256, 8192, 7438),
    ("llama2_7b", "h100", 1, 2048, 128, 4096, 7463),
    ("codellama_34b", "h100", 2, 2048, 128, 4096, 26602),
    ("mistral_nemo_12b", "h100", 1, 2048, 128, 4096, 19251),
    ("qwen2_5_7b", "h100", 1, 2048, 128, 4096, 65352),
    ("llama3_8b", "rtx4090", 1, 2048, 256, 32768, 2588),
]


@pytest.mark.parametrize("row", ROWS, ids=[f"{r[0]}-tp{r[2]}-{r[3]}" for r in ROWS])
def test_blocks_are_within_three_percent_of_the_server(row: tuple[str, str, int, int, int, int, int]) -> None:
    name, device, tensor, budget, seqs, length, blocks = row
    engine = EngineSpec(
        tensor_parallel_size=tensor, max_num_batched_tokens=budget, max_num_seqs=seqs, max_model_len=length,
        gpu_memory_utilization=0.9, estimate_cudagraph_memory=False,
    )  # fmt: skip
    plan = memory_plan(model(name), gpu(device), resolve_engine(engine, model(name), gpu(device)))
    assert plan.num_gpu_blocks == pytest.approx(blocks, rel=0.03)
