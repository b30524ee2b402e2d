"""``servecap traces stats|convert|synth|fit|fetch``: traces looked at, translated, made, learnt and downloaded."""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from pydantic import TypeAdapter, ValidationError
from rich.console import Console
from rich.table import Table

from sim.cli.plain_yaml import read_plain_yaml
from sim.errors import ConfigError, OutputError, SimError
from sim.spec import GeneratorSpec, WorkloadSpec
from sim.watch import watch_of_this_job
from sim.workload import Trace, generate, load_workload, write_trace
from sim.workload.cautions import cautions
from sim.workload.columns import as_number
from sim.workload.fetch import PUBLIC_TRACES, cache_folder, fetch
from sim.workload.fit import fit_generator
from sim.workload.formats import FORMATS
from sim.workload.picture import trace_picture
from sim.workload.statistics import trace_statistics
from sim.workload.trace import left_out_sentences

_BARS = " ▁▂▃▄▅▆▇█"


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


def _whole(text: str) -> int:
    """A whole number from 0 in plain digits, as ``argparse`` reads it."""
    if not (text.isascii() and text.isdigit()):
        raise argparse.ArgumentTypeError(f"must be an integer from 0, but got {text!r}")
    return int(text)


def _number(text: str) -> float:
    """A number in plain digits, as ``argparse`` reads it (``float`` takes 1_000 and digits of any script)."""
    found = as_number(text)
    if not math.isfinite(found):
        raise argparse.ArgumentTypeError(f"must be a number, but got {text!r}")
    return found


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
    convert.add_argument("--json", action="store_true", help="one JSON object: the file, its requests")
    convert.set_defaults(action=_convert)

    synth = verbs.add_parser("synth", help="a trace from a workload configuration with a generator")
    synth.add_argument("config", type=Path, help="YAML with generator: (as `traces fit` writes)")
    synth.add_argument("output", type=Path, help=".csv or .parquet")
    synth.add_argument("--seed", type=_whole, default=0)
    synth.add_argument("--json", action="store_true", help="one JSON object: the file, its requests")
    synth.set_defaults(action=_synth)

    fit = verbs.add_parser("fit", help="learn a generator; writes a workload configuration without user data")
    _add_source(fit)
    fit.add_argument("output", type=Path, help="YAML, e.g. DIR/workload/mine.yaml for `--config-dir DIR workload=mine`")
    fit.add_argument("--json", action="store_true", help="one JSON object: the file, its requests")
    fit.set_defaults(action=_fit)

    get = verbs.add_parser("fetch", help="download a public trace, checked and resumable")
    get.add_argument("name", nargs="?", help=f"one of {', '.join(PUBLIC_TRACES)}; none lists them")
    get.add_argument("--folder", type=Path, help=f"instead of {cache_folder()}")
    get.add_argument("--url", help="another address of the same file")
    get.add_argument("--sha256", help="the checksum to expect, for another version of the file")
    get.add_argument("--json", action="store_true", help="one JSON object: the file, or the public traces")
    get.set_defaults(action=_fetch)
    for verb in verbs.choices.values():
        verb.add_argument("--quiet", "-q", action="store_true", help="no progress on standard error")
    return parser


def _add_source(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("path", help="trace file, folder, glob in quotes, - (standard input), pipe or https address")
    parser.add_argument("--format", default="auto", help=f"auto, or {', '.join(known.name for known in FORMATS)}")
    parser.add_argument("--columns", default="", help="any table: native=theirs,... (time: arrival_s|_ms|_us|_ns)")
    parser.add_argument("--time-format", default="auto", help="auto, iso, s|ms|us|ns, or a pattern: '%%d/%%m/%%Y %%H:%%M'")
    parser.add_argument("--decimal", default="auto", choices=("auto", ".", ","), help="the decimal sign of its numbers")
    parser.add_argument("--block-tokens", type=_whole, help="tokens in a block of block_hashes, if the file does not tell")
    parser.add_argument("--tokenizer", help="counts the tokens of texts: tokenizer.json, or what tiktoken knows")
    parser.add_argument("--characters-per-token", type=_number, default=4.0, help="of texts, without a tokenizer (4)")
    parser.add_argument("--sessions-per-s", type=_number, default=0.1, help="of files without times between sessions (0.1)")
    parser.add_argument("--lenient", action="store_true", help="sort rows that step back, drop and count unusable ones")
    parser.add_argument("--lenient-max-loss", type=_number, default=0.01, help="largest share that may be dropped (0.01)")
    parser.add_argument("--start-s", type=_number, default=0.0)
    parser.add_argument("--duration-s", type=_number)
    parser.add_argument("--limit", type=_whole)
    parser.add_argument("--rate-scale", type=_number, default=1.0)
    parser.add_argument("--rate-per-s", type=_number, help="mean requests a second, instead of --rate-scale")
    parser.add_argument("--tokens-per-day", type=_number, help="prompt and answer tokens a day, instead of --rate-scale")
    parser.add_argument("--dequantise", type=_number, metavar="TICK_S", help="spread arrivals over their clock's tick")
    parser.add_argument("--seed", type=_whole, default=0)


def _load(arguments: argparse.Namespace) -> Trace:
    pairs = [pair.partition("=")[::2] for pair in arguments.columns.split(",") if pair]
    columns = dict(pairs)
    if len(columns) < len(pairs):
        twice = next(name for place, (name, _) in enumerate(pairs) if name in dict(pairs[:place]))
        raise ConfigError(f"--columns maps {twice} more than once ({arguments.columns!r}); legal is every name once")
    spec = _parsed(WorkloadSpec, {
        "path": arguments.path, "format": arguments.format, "columns": columns, "time_format": arguments.time_format,
        "decimal": arguments.decimal, "block_tokens": arguments.block_tokens, "lenient": arguments.lenient,
        "lenient_max_loss": arguments.lenient_max_loss, "dequantise_s": arguments.dequantise,
        "start_s": arguments.start_s, "duration_s": arguments.duration_s, "limit": arguments.limit,
        "rate_scale": arguments.rate_scale, "rate_per_s": arguments.rate_per_s,
        "tokens_per_day": arguments.tokens_per_day, "tokenizer": arguments.tokenizer,
        "characters_per_token": arguments.characters_per_token, "session_rate_per_s": arguments.sessions_per_s,
    })  # fmt: skip
    trace = load_workload(spec, arguments.seed)
    for sentence in left_out_sentences(trace.left_out()):
        print(f"{arguments.path}: {sentence}", file=sys.stderr)
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
    careful = cautions(trace, found)
    if arguments.picture is not None:
        _write_text(arguments.picture, trace_picture(trace, found, Path(arguments.path).name))
    if arguments.json:
        print(json.dumps(_without_nan(found) | {"warnings": [*left_out_sentences(trace.left_out()), *careful]}, indent=1))
        return
    table = Table(title=f"{arguments.path} ({trace.provenance.get('format', 'generated')})")
    table.add_column("figure")
    table.add_column("value", justify="right")
    for name, value in _flat(found):
        table.add_row(name, f"{value:,.4g}" if isinstance(value, float) else f"{value:,}")
    Console().print(table)
    print(f"arrivals  {_sparkline(trace)}  0 to {trace.duration_s:,.0f} s")
    for sentence in careful:
        print(f"Note: {sentence}.")


def _sparkline(trace: Trace) -> str:
    """Arrivals over the trace's time, the busiest of 60 parts full."""
    counts = np.histogram(trace.arrival_s, bins=60)[0]
    return "".join(_BARS[int(np.ceil(count / counts.max() * (len(_BARS) - 1)))] for count in counts)


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
    _written(arguments, trace, f"{len(trace):,} requests in {trace.duration_s:,.1f} s{note}")


def _written(arguments: argparse.Namespace, trace: Trace, words: str) -> None:
    """Say which file was written, and of what."""
    if arguments.json:
        facts = {"file": str(arguments.output), "requests": len(trace), "duration_s": trace.duration_s}
        blocks = {"block_tokens": trace.block_tokens} if "block_hashes" in trace.labels else {}
        print(json.dumps(facts | blocks))
    else:
        print(f"{arguments.output}: {words}")


def _synth(arguments: argparse.Namespace) -> None:
    config = read_plain_yaml(arguments.config)
    if not isinstance(config, dict) or not isinstance(config.get("generator"), dict):
        raise ConfigError(f"{arguments.config}: lacks generator:, which says what to make")
    trace = generate(_parsed(GeneratorSpec, config["generator"]), arguments.seed)
    write_trace(trace, arguments.output)
    _written(arguments, trace, f"{len(trace):,} requests in {trace.duration_s:,.1f} s (synthetic, seed {arguments.seed})")


def _fit(arguments: argparse.Namespace) -> None:
    trace = _load(arguments)
    config = fitted_config(trace, arguments.output.stem, f"fitted to {Path(arguments.path).name}")
    _write_text(arguments.output, config)
    words = f"a generator fitted to {len(trace):,} requests; synthetic, holds no row of the trace"
    _written(arguments, trace, words)


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
    if arguments.name is None and arguments.json:
        print(json.dumps({name: {"licence": known.licence, "url": known.url} for name, known in PUBLIC_TRACES.items()}))
        return
    if arguments.name is None:
        for name, known in PUBLIC_TRACES.items():
            print(f"{name}  {known.licence}  {known.url}")
        return
    watch = watch_of_this_job()

    def progress(loaded_bytes: int) -> None:
        watch.doing = f"{arguments.name}: {loaded_bytes / 1e6:,.0f} MB loaded"

    path = fetch(
        arguments.name, folder=arguments.folder, url=arguments.url, sha256=arguments.sha256, progress=progress
    )  # fmt: skip
    print(json.dumps({"file": str(path)}) if arguments.json else path)


def _write_text(path: Path, text: str) -> None:
    beside = path.with_name(f".{path.name}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        beside.write_text(text)
        beside.replace(path)
    except OSError as error:
        raise OutputError(f"{path}: cannot be written ({error.strerror or error})") from None
