"""``servecap calibrate PATH... --out DIR model=... gpu=... [engine.*=...]``: from measurements to a GPU configuration.

The fit is in ``sim.trust.multipliers`` (and ``sim.trust.anchor`` where only means are known), the files in
``sim.trust.observations``.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import math
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

import yaml

from sim.errors import ConfigError, OutputError, SimError
from sim.measured import Aggregate
from sim.perf.choose import SCALES
from sim.spec import EngineSpec, GpuSpec, ModelSpec
from sim.trust.calibration import CARRIES, Calibration
from sim.trust.multipliers import fit_multipliers
from sim.trust.observations import Known, Readings, read_measurements
from sim.trust.plain_overrides import parse_overrides

__all__ = ["Calibration", "calibrate", "fit_multipliers", "main"]


def calibrate(
    paths: Sequence[str | Path],
    model: ModelSpec,
    gpu: GpuSpec,
    engine: EngineSpec,
    out_dir: str | Path,
    *,
    fixed: Mapping[str, float] | None = None,
    name: str = "mine",
    known: Known | None = None,
    any_server: bool = False,
) -> tuple[Calibration, Readings]:
    """Fit what ``paths`` hold and write ``OUT/gpu/NAME.yaml``, which ``--config-dir OUT gpu=NAME`` selects.

    Raises:
        TraceError: the measurements cannot be read.
        ConfigError: no multiplier is free, or the fit is worse than the preset.
        OutputError: the folder cannot be written.
    """
    readings = read_measurements([Path(path) for path in paths], known)
    result = fit_multipliers(readings.runs, model, gpu, engine, fixed, any_server)
    folder = Path(out_dir) / "gpu"
    text = _as_yaml(result, gpu, model, engine, [Path(path) for path in paths])
    try:
        folder.mkdir(parents=True, exist_ok=True)
        draft = folder / f".{name}.yaml.part"
        draft.write_text(text, encoding="utf-8")
        draft.replace(folder / f"{name}.yaml")
    except OSError as error:
        raise OutputError(f"--out: {folder} cannot be written ({error.strerror})") from None
    return result, readings


def _as_yaml(
    result: Calibration, gpu: GpuSpec, model: ModelSpec, engine: EngineSpec, paths: Sequence[Path]
) -> str:  # fmt: skip
    data = asdict(gpu)
    data["step_time_scale"] = {name: float(f"{value:.5g}") for name, value in result.multipliers.items()}
    names = ", ".join(path.name for path in paths)
    how = "anchored to" if result.anchored else "calibrated on"
    data["source"] = f"{gpu.source}; {how} {names}"
    data["calibrated_on"] = f"{model.name} {model.weight_dtype} TP{engine.tensor_parallel_size} {engine.name}"
    lines = [
        f"# {gpu.name} as measured on one's own server: `servecap calibrate`, {result.requests} requests of {names}",
        f"# model {model.name} {model.weight_dtype}",
        *(f"# sha256 {_digest(path)} {path.name}" for path in paths),
        *(f"# {name}: {result.known(name)}; carries {CARRIES[name]}" for name in result.multipliers if name in CARRIES),
        *(f"# {line}" for line in result.words()),
    ]  # fmt: skip
    return "\n".join(lines) + "\n" + yaml.safe_dump(data, sort_keys=False, allow_unicode=True)


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else "(a folder)"


def main(argv: Iterable[str]) -> int:
    """Runs the verb; the process's exit code."""
    options = _parser().parse_intermixed_args(list(argv))
    overrides = [word for word in options.words if "=" in word]
    paths = [options.path, *(word for word in options.words if "=" not in word)]
    try:
        model, gpu, engine = parse_overrides(overrides)
        fixed = dict(_fixed(text) for text in options.fix)
        known = Known(_positive("--concurrency", options.concurrency), _positive("--interval-s", options.interval_s))
        result, readings = calibrate(
            paths, model, gpu, engine, options.out, fixed=fixed, name=options.name, known=known,
            any_server=options.any_server,
        )  # fmt: skip
    except SimError as error:
        print(f"servecap: {error}", file=sys.stderr)
        return error.exit_code
    for file, why in readings.skipped:
        print(f"skipped {file}: {why}", file=sys.stderr)
    if options.json:
        print(json.dumps(_as_data(result, readings), indent=1))
        return 0
    _show(result, readings)
    print(f"{options.out}/gpu/{options.name}.yaml: select it with --config-dir {options.out} gpu={options.name}")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="servecap calibrate",
        description="Fit step-time multipliers to benchmark results, request logs or /metrics dumps of your own server.",
        epilog="Then: servecap --config-dir DIR gpu=mine model=...",
    )
    parser.add_argument("path", metavar="PATH", help="result file, or a folder of them: one run or load level a file")
    parser.add_argument(
        "words", nargs="*", metavar="PATH|OVERRIDE",
        help="more paths; model=PRESET gpu=PRESET engine.max_num_seqs=128 model.hf_config=FILE ...",
    )  # fmt: skip
    parser.add_argument("--out", default="calibrated", metavar="DIR", help="config folder to write (default: calibrated)")
    parser.add_argument("--name", default="mine", help="name of the GPU configuration (default: mine)")
    parser.add_argument("--fix", action="append", default=[], metavar="NAME=X", help="hold a multiplier, e.g. host=1")
    parser.add_argument("--any-server", action="store_true", help="take nothing for granted of servers of a known kind")
    parser.add_argument("--concurrency", type=float, metavar="N", help="requests in flight, where a file does not say")
    parser.add_argument("--interval-s", type=float, metavar="S", help="seconds between two /metrics dumps of one server")
    parser.add_argument("--json", action="store_true", help="print the result as JSON")
    parser.add_argument("--quiet", "-q", action="store_true", help="no progress on standard error")
    return parser


def _as_data(result: Calibration, readings: Readings) -> dict[str, object]:
    runs = [{"source": run.source, "said": run.words, **_means(run.point)} for run in readings.runs]
    skipped = [{"file": file, "why": why} for file, why in readings.skipped]
    return {**result.as_data(), "runs": runs, "skipped": skipped}


def _means(point: Aggregate | None) -> dict[str, object]:
    """A run of means as plain data; what is not known is null."""
    if point is None:
        return {}
    names = ("producer", "requests", "input_tokens", "output_tokens", "ttft_s", "tpot_s", "e2e_s")
    values = {name: getattr(point, name) for name in names}
    values |= {"in_flight": point.load.in_flight, "rate_per_s": point.load.rate_per_s}
    return {name: None if isinstance(value, float) and math.isnan(value) else value for name, value in values.items()}


def _show(result: Calibration, readings: Readings) -> None:
    for run in readings.runs:
        print(f"{run.source}: {run.words}")
    for name, value in result.multipliers.items():
        print(f"{name:<10} x {value:8.4g}   {result.known(name)}")
    for line in result.words():
        print(line)


def _positive(name: str, value: float | None) -> float | None:
    if value is not None and not 0 < value < math.inf:
        raise ConfigError(f"{name} must be a number above 0, but got {value!r}")
    return value


def _fixed(text: str) -> tuple[str, float]:
    name, _, value = text.partition("=")
    try:
        number = float(value)
    except ValueError:
        number = float("nan")
    if name not in SCALES or not number > 0:
        raise ConfigError(f"--fix: one of {', '.join(SCALES)}, = and a number above 0, but got {text!r}")
    return name, number
