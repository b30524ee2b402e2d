"""``servecap traces stats|convert|synth|fit|fetch``: traces looked at, translated, made, learnt and downloaded."""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml
from pydantic import TypeAdapter, ValidationError
from rich.console import Console
from rich.table import Table

from sim.cli.plain_yaml import read_plain_yaml
from sim.errors import ConfigError, OutputError, SimError
from sim.spec import GeneratorSpec, WorkloadSpec
from sim.workload import Trace, generate, load_workload, write_trace
from sim.workload.fetch import PUBLIC_TRACES, cache_folder, fetch
from sim.workload.fit import fit_generator
from sim.workload.formats import FORMATS
from sim.workload.picture import trace_picture
from sim.workload.statistics import trace_statistics


def main(argv: list[str]) -> int:
    """Runs one of the verbs; returns the exit code."""
    arguments = _parser().parse_args(argv)
    action: Callable[[argparse.Namespace], None] = arguments.action
    try:
        action(arguments)
    except SimError as error:
        print(f"servecap traces: {error}", file=sys.stderr)
        return error.exit_code
    return 0


def _seed(text: str) -> int:
    """A seed as ``argparse`` reads it."""
    if not text.isdigit():
        raise argparse.ArgumentTypeError(f"must be an integer from 0, but got {text!r}")
    return int(text)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="servecap traces", description=__doc__)
    verbs = parser.add_subparsers(required=True, metavar="stats|convert|synth|fit|fetch")

    stats = verbs.add_parser("stats", help="rates, burstiness, lengths, prefix reuse, sessions; with a picture")
    _add_source(stats)
    stats.add_argument("--json", action="store_true", help="print the figures as JSON")
    stats.add_argument("--picture", type=Path, help="write an SVG here")
    stats.set_defaults(action=_stats)

    convert = verbs.add_parser("convert", help="any known format to the native one")
    _add_source(convert)
    convert.add_argument("output", type=Path, help=".csv or .parquet")
    convert.set_defaults(action=_convert)

    synth = verbs.add_parser("synth", help="a trace from a workload configuration with a generator")
    synth.add_argument("config", type=Path, help="YAML with generator: (as `traces fit` writes)")
    synth.add_argument("output", type=Path, help=".csv or .parquet")
    synth.add_argument("--seed", type=_seed, default=0)
    synth.set_defaults(action=_synth)

    fit = verbs.add_parser("fit", help="learn a generator; writes a workload configuration without user data")
    _add_source(fit)
    fit.add_argument("output", type=Path, help="YAML, e.g. DIR/workload/mine.yaml for `--config-dir DIR workload=mine`")
    fit.set_defaults(action=_fit)

    get = verbs.add_parser("fetch", help="download a public trace, checked and resumable")
    get.add_argument("name", nargs="?", help=f"one of {', '.join(PUBLIC_TRACES)}; none lists them")
    get.add_argument("--folder", type=Path, help=f"instead of {cache_folder()}")
    get.add_argument("--url", help="another address of the same file")
    get.add_argument("--sha256", help="the checksum to expect, for another version of the file")
    get.set_defaults(action=_fetch)
    return parser


def _add_source(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("path", help="trace file or folder")
    parser.add_argument("--format", default="auto", help=f"auto, or {', '.join(known.name for known in FORMATS)}")
    parser.add_argument("--columns", default="", help="any CSV: native=theirs,... (time: arrival_s|_ms|_us|_ns)")
    parser.add_argument("--lenient", action="store_true", help="drop and count rows that cannot be used")
    parser.add_argument("--start-s", type=float, default=0.0)
    parser.add_argument("--duration-s", type=float)
    parser.add_argument("--limit", type=int)
    parser.add_argument("--rate-scale", type=float, default=1.0)
    parser.add_argument("--dequantise", type=float, metavar="TICK_S", help="spread arrivals over their clock's tick")
    parser.add_argument("--seed", type=_seed, default=0)


def _load(arguments: argparse.Namespace) -> Trace:
    columns = dict(pair.partition("=")[::2] for pair in arguments.columns.split(",") if pair)
    transforms = [] if arguments.dequantise is None else [{"kind": "dequantise", "tick_s": arguments.dequantise}]
    spec = _parsed(WorkloadSpec, {
        "path": arguments.path, "format": arguments.format, "columns": columns, "lenient": arguments.lenient,
        "start_s": arguments.start_s, "duration_s": arguments.duration_s, "limit": arguments.limit,
        "rate_scale": arguments.rate_scale, "transforms": transforms,
    })  # fmt: skip
    trace = load_workload(spec, arguments.seed)
    dropped = trace.provenance.get("dropped") or {}
    for reason, count in dropped.items():
        print(f"{arguments.path}: left out {count} rows: {reason}", file=sys.stderr)
    return trace


def _parsed(kind: type[Any], data: Any) -> Any:
    try:
        return TypeAdapter(kind).validate_python(data)
    except ValidationError as error:
        raise ConfigError("\n".join(
            f"{'.'.join(map(str, item['loc']))}: {item['msg']}, but got {item['input']!r}" for item in error.errors()
        )) from None  # fmt: skip


def _stats(arguments: argparse.Namespace) -> None:
    trace = _load(arguments)
    found = trace_statistics(trace)
    if arguments.picture is not None:
        _write_text(arguments.picture, trace_picture(trace, found, Path(arguments.path).name))
    if arguments.json:
        print(json.dumps(_without_nan(found), indent=1))
        return
    table = Table(title=f"{arguments.path} ({trace.provenance.get('format', 'generated')})")
    table.add_column("figure")
    table.add_column("value", justify="right")
    for name, value in _flat(found):
        table.add_row(name, f"{value:,.4g}" if isinstance(value, float) else f"{value:,}")
    Console().print(table)


def _flat(data: dict[str, Any], prefix: str = "") -> list[tuple[str, float | int]]:
    rows = []
    for name, value in data.items():
        if isinstance(value, dict):
            rows += _flat(value, f"{prefix}{name}.")
        else:
            rows.append((prefix + name, value))
    return rows


def _without_nan(data: Any) -> Any:
    if isinstance(data, dict):
        return {name: _without_nan(value) for name, value in data.items()}
    return None if isinstance(data, float) and math.isnan(data) else data


def _convert(arguments: argparse.Namespace) -> None:
    trace = _load(arguments)
    write_trace(trace, arguments.output)
    note = f", block_tokens={trace.block_tokens}" if "block_hashes" in trace.labels else ""
    print(f"{arguments.output}: {len(trace):,} requests in {trace.duration_s:,.1f} s{note}")


def _synth(arguments: argparse.Namespace) -> None:
    config = read_plain_yaml(arguments.config)
    if not isinstance(config, dict) or not isinstance(config.get("generator"), dict):
        raise ConfigError(f"{arguments.config}: lacks generator:, which says what to make")
    trace = generate(_parsed(GeneratorSpec, config["generator"]), arguments.seed)
    write_trace(trace, arguments.output)
    print(f"{arguments.output}: {len(trace):,} requests in {trace.duration_s:,.1f} s (synthetic, seed {arguments.seed})")


def _fit(arguments: argparse.Namespace) -> None:
    trace = _load(arguments)
    config = fitted_config(trace, arguments.output.stem, f"fitted to {Path(arguments.path).name}")
    _write_text(arguments.output, config)
    print(f"{arguments.output}: a generator fitted to {len(trace):,} requests; synthetic, holds no row of the trace")


def fitted_config(trace: Trace, name: str, source: str) -> str:
    """The text of a workload configuration whose generator is fitted to ``trace``."""
    generator = TypeAdapter(GeneratorSpec).dump_python(fit_generator(trace), mode="json", exclude_defaults=True)
    config: dict[str, Any] = {
        "name": name, "path": None, "generator": _kinds_kept(generator), "format": "auto", "start_s": 0.0,
        "duration_s": None, "limit": None, "rate_scale": 1.0, "rate_mode": "superpose", "transforms": [],
        "warmup_s": 0.0, "block_tokens": trace.block_tokens, "lenient": False, "source": source,
    }  # fmt: skip
    body = yaml.safe_dump(config, sort_keys=False, default_flow_style=None, width=118)
    return f"# Synthetic: fitted by `servecap traces fit`. Quantiles, counts and shares; no row of the trace.\n{body}"


def _kinds_kept(generator: dict[str, Any]) -> dict[str, Any]:
    """``generator`` with the tags that leaving out defaults has taken away."""
    generator["arrivals"]["kind"] = "gamma" if "cv" in generator["arrivals"] else "self_exciting"
    generator["input_tokens"]["kind"] = generator["output_tokens"]["kind"] = "empirical"
    generator.setdefault("dependence", {})["kind"] = "empirical"
    if "prefix" in generator:
        generator["prefix"]["kind"] = "groups" if "weights" in generator["prefix"] else "tree"
    if "sessions" in generator:
        generator["sessions"]["turns"]["kind"] = "empirical"
    return generator


def _fetch(arguments: argparse.Namespace) -> None:
    if arguments.name is None:
        for name, known in PUBLIC_TRACES.items():
            print(f"{name}  {known.licence}  {known.url}")
        return
    shown = [0]

    def progress(loaded_bytes: int) -> None:
        if loaded_bytes - shown[0] >= 16 << 20:
            shown[0] = loaded_bytes
            print(f"\r{loaded_bytes / 1e6:,.0f} MB", end="", file=sys.stderr, flush=True)

    path = fetch(
        arguments.name, folder=arguments.folder, url=arguments.url, sha256=arguments.sha256, progress=progress
    )  # fmt: skip
    print(path)


def _write_text(path: Path, text: str) -> None:
    beside = path.with_name(f".{path.name}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        beside.write_text(text)
        beside.replace(path)
    except OSError as error:
        raise OutputError(f"{path}: cannot be written ({error.strerror or error})") from None
