"""The same load through NVIDIA's AISimulate (the Rust mocker of Dynamo, PyPI ``ai-dynamo-runtime``), one process a run.

It is installed in a throw-away environment. Its time is process CPU of ``run_mocker_trace_replay`` less that of a replay
which stops after a simulated millisecond: reading the trace is apart, as it is for servecap. Its engine has servecap's
scheduler limits, KV blocks and block size; step times are its own, which concerns the results and not the work a step is.
"""

from __future__ import annotations

import json
import subprocess
import sys
import venv
from pathlib import Path

from sim.workload import Trace

PACKAGE = "ai-dynamo-runtime==1.6.1"
_TRACE_BLOCK_TOKENS = 512
_ENGINE = {
    "backend": "vllm", "num_gpu_blocks": 27000, "block_size": 16, "max_num_seqs": 1024, "max_num_batched_tokens": 8192,
    "enable_prefix_caching": True,
}  # fmt: skip
_RUN = """
import json, sys, time
from dynamo._core import run_mocker_trace_replay as replay
path, workers, engine = sys.argv[1], int(sys.argv[2]), {"engine": json.loads(sys.argv[3])}
def cpu_s(**more):
    begin = time.process_time()
    replay([path], extra_engine_args=engine, num_workers=workers, trace_block_size=int(sys.argv[4]), **more)
    return time.process_time() - begin
cpu_s(max_sim_time_ms=1.0)
print(cpu_s() - cpu_s(max_sim_time_ms=1.0))
"""


def install(folder: Path) -> Path:
    """A fresh environment in ``folder`` with the peer; returns its Python."""
    venv.create(folder, with_pip=True)
    python = folder / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")
    subprocess.run([python, "-m", "pip", "install", "-q", PACKAGE], check=True)
    return python


def write_mooncake(trace: Trace, path: Path) -> None:
    """``trace`` as Mooncake's JSON lines, no block shared."""
    block = 0
    with path.open("w") as file:
        for arrival_s, tokens, output in zip(trace.arrival_s, trace.input_tokens, trace.output_tokens, strict=True):
            blocks = -(-int(tokens) // _TRACE_BLOCK_TOKENS)
            row = {"timestamp": round(float(arrival_s) * 1000), "input_length": int(tokens), "output_length": int(output)}
            file.write(json.dumps({**row, "hash_ids": list(range(block, block + blocks))}) + "\n")
            block += blocks


def peer_cpu_s(python: Path, path: Path, replicas: int) -> float:
    """CPU seconds of one replay of the Mooncake file at ``path``."""
    arguments = [python, "-c", _RUN, path, str(replicas), json.dumps(_ENGINE), str(_TRACE_BLOCK_TOKENS)]
    ran = subprocess.run(arguments, check=True, capture_output=True, text=True)
    return float(ran.stdout.splitlines()[-1])
