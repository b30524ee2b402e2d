"""Build a step-time table for a GPU, model and parallelism of one's own, where ``aiconfigurator-core`` is installed.

    pip install 'servecap[aic]'      # linux x86_64, 82 MB, planned for removal upstream
    python experiments/step_time_fit/aic_table.py gpu=h200 model=llama3_70b engine.tensor_parallel_size=4 --out mine.json
    servecap run gpu=h200 model=llama3_70b engine.tensor_parallel_size=4 engine.step_time_file=mine.json

Asks for the 165 forward-pass times (sums of measured kernels, no host overhead) that ``fit_tables.py`` fits a shipped table
to, and fits them the same way. Further calls with the same ``--out`` add to the file. ``--system`` and ``--checkpoint`` name
the package's hardware and model where the preset's name does not tell; the model's geometry has to be the preset's.
"""

from __future__ import annotations

import argparse
import json
import logging
import sys
from pathlib import Path
from typing import Any

import pandas as pd
from fit_tables import DTYPES, GPUS, MODELS, fit

from sim.cli.compose import composed_scenario
from sim.perf.table import entry_key
from sim.spec import Scenario

SYSTEMS = {gpu: system for system, gpu in GPUS.items()}
CHECKPOINTS = {model: checkpoint for checkpoint, model in MODELS.items()}
POWERS = [2**n for n in range(9)]
CONTEXTS = [128, 512, 1024, 2048, 4096, 8192, 16384]
CHUNKS = [16, 64, 128, 256, 512, 1024, 2048, 4096, 8192, 16384]
VLLM = "0.24.0"


def engine_of(system: str, checkpoint: str, tensor_parallel: int, dtypes: tuple[str, str], experts: bool) -> Any:
    """The package's engine; raises ImportError where it is not installed."""
    from aiconfigurator_core import _aiconfigurator_core as core
    from aiconfigurator_core.sdk.engine import compile_engine

    weights, kv = dtypes
    options: dict[str, Any] = {"gemm_quant_mode": "fp8"} if weights == "fp8" else {}
    if experts:
        options["moe_tp_size"] = tensor_parallel
        if weights == "fp8":
            options["moe_quant_mode"] = "fp8"
    if kv == "fp8":
        options["kvcache_quant_mode"] = "fp8"
    logging.getLogger("aiconfigurator_core").setLevel(logging.ERROR)
    return core.AicEngine.from_spec(compile_engine(checkpoint, system, "vllm", VLLM, tp_size=tensor_parallel, **options))


def grid(engine: Any) -> pd.DataFrame:
    """Forward-pass times in ms at the points of a fit: columns as ``fit_tables.fit`` reads them."""
    rows: list[tuple[str, int, int, int, int, float]] = []

    def generation(batch: int, context: int) -> tuple[float, float, float, float]:
        return engine.mixed_step_breakdown(16, batch, 16, 2 * (context - 17), 0)

    for batch in POWERS:
        for context in CONTEXTS:
            rows.append(("decode", batch, batch, 0, context, engine.decode_step_latency(batch, context - 1, 1)))
    for chunk in CHUNKS:
        for prefix in (0, 2048, 8192):
            rows.append(("prefill", 1, chunk, prefix, 0, engine.predict_prefill_latency(1, chunk + prefix, prefix)))
    for batch in (8, 32, 128):
        for chunk in (128, 512, 2048, 8192):
            _, rest, own, _ = engine.mixed_step_breakdown(chunk, batch, chunk, 2, 0)
            alone = engine.predict_prefill_latency(1, chunk, 0)
            for prefix in (0, 2048):
                behind = engine.predict_prefill_latency(1, chunk + prefix, prefix) - alone
                for context in (512, 2048, 8192):
                    # one call has one prompt length for chunk and decodes: the decodes' attention comes from another call
                    rows.append(("mixed", batch, chunk, prefix, context, rest + own + behind + generation(batch, context)[3]))
    return pd.DataFrame(rows, columns=["phase", "batch", "new_tokens", "prefix_len", "kv_len", "latency_ms"])


def entry(scenario: Scenario, system: str | None = None, checkpoint: str | None = None) -> dict[str, Any]:
    """The table of ``scenario``'s GPU, model, tensor parallelism and types."""
    key = entry_key(scenario.model, scenario.gpu, scenario.engine)
    dtypes = key["weight_dtype"], key["kv_dtype"]
    if dtypes not in DTYPES.values():
        raise SystemExit(f"weights {dtypes[0]} with KV {dtypes[1]}: known are {', '.join('/'.join(d) for d in DTYPES.values())}")
    system, checkpoint = system or SYSTEMS.get(key["gpu"]), checkpoint or CHECKPOINTS.get(key["model"])
    if system is None or checkpoint is None:
        raise SystemExit(f"--system is needed for gpu={key['gpu']}, --checkpoint for model={key['model']}: no default is known")
    engine = engine_of(system, checkpoint, key["tensor_parallel"], dtypes, any(g.feed_forward and g.feed_forward.experts for g in scenario.model.stack))
    return {**key, "vllm": VLLM, **fit(grid(engine))}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("overrides", nargs="*", help="as for servecap run: gpu=, model=, engine.tensor_parallel_size=")
    parser.add_argument("--system", help="the package's name of the hardware, e.g. h100_sxm")
    parser.add_argument("--checkpoint", help="Hugging Face name of the model, as the package knows it")
    parser.add_argument("--out", type=Path, required=True, help="JSON file; further tables are added to it")
    arguments = parser.parse_args()
    try:
        made = entry(composed_scenario(arguments.overrides), arguments.system, arguments.checkpoint)
    except ImportError as error:
        print(f"{error}: pip install 'servecap[aic]' (linux x86_64)", file=sys.stderr)
        return 2
    before = json.loads(arguments.out.read_text(encoding="utf-8"))["entries"] if arguments.out.exists() else []
    keys = ("gpu", "geometry", "tensor_parallel", "weight_dtype", "kv_dtype")
    kept = [old for old in before if any(old[key] != made[key] for key in keys)]
    head = {"source": "aiconfigurator-core 0.12.0 (NVIDIA, Apache-2.0), fitted by experiments/step_time_fit/aic_table.py"}
    arguments.out.write_text(json.dumps({"head": head, "entries": [*kept, made]}, indent=1) + "\n", encoding="utf-8")
    print(f"{made['gpu']} {made['model']} TP{made['tensor_parallel']} {made['weight_dtype']} -> {arguments.out}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
