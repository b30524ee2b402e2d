"""Whose report a file is, by content: one table, asked in order."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Mapping
from typing import Any

import yaml

from sim.errors import TraceError
from sim.measured import (
    genai_perf,
    guidellm,
    inference_perf,
    inferencex,
    llm_d,
    llmperf,
    metrics,
    sglang_bench,
    trtllm_bench,
    vllm_bench,
)
from sim.measured.aggregate import Aggregate, checked
from sim.measured.json_keys import TwiceError, each_key_once, refuse_twice
from sim.measured.prometheus import from_range_query, from_text, is_range_query

Matches = Callable[[Mapping[str, Any]], bool]
Read = Callable[[str, Mapping[str, Any]], Aggregate]

PRODUCERS: tuple[tuple[Matches, Read], ...] = tuple(
    (producer.matches, producer.read)
    for producer in (sglang_bench, vllm_bench, inferencex, trtllm_bench, inference_perf, llm_d, genai_perf, llmperf)
)
"""SGLang before vLLM: its reports hold vLLM's names too."""
TELL_TOO_LITTLE: tuple[tuple[set[str], str], ...] = (
    (
        {"elapsed_time", "num_requests", "total_num_tokens"},
        "is a result of vllm bench throughput: tokens a second of a batch, without latencies; run vllm bench serve",
    ),
    (
        {"avg_latency", "latencies", "percentiles"},
        "is a result of vllm bench latency: seconds of whole batches, without lengths or first tokens; run vllm bench serve",
    ),
    (
        {"experiments", "service_kind"},
        "is perf_analyzer's raw export, without token counts; profile_export_genai_perf.json beside it has the means",
    ),
)
"""Known files that hold no operating point, and what does."""
_MOST_RUNS = 10_000


def names_a_result(head: str) -> bool:
    """Whether text that begins with ``head`` can be a report: cheap, before a whole file is read."""
    marks = (
        "mean_ttft_ms", "total_output_tokens", "tput_per_gpu", "request_info", "load_summary", "scenario:", '"scenario"',
        "request_latency", "num_concurrent_requests", "number_output_tokens", "resultType", "vllm:", "sglang:", "tgi_",
        "dynamo_frontend_", '"benchmarks"', "Metric,avg", "total_num_tokens", "avg_latency", '"service_kind"',
    )  # fmt: skip
    return any(mark in head for mark in marks)


def aggregates_in(source: str, text: str) -> list[Aggregate]:
    """Every run of means in ``text``; empty where it is nobody's report.

    Raises:
        TraceError: it is a known producer's report, and cannot be true or tells too little.
    """
    begin = text.lstrip("\ufeff \t\r\n")[:1]
    if begin in ("{", "["):
        return _in_json(source, text)
    if text.lstrip().startswith(("version:", "scenario:", "metrics:", "results:", "run:", "---")):
        data = _yaml(source, text)
        return [checked(llm_d.read(source, data))] if isinstance(data, dict) and llm_d.matches(data) else []
    if "," in text.partition("\n")[0]:
        return _in_table(source, text)
    if metrics.names_a_server(text):
        return [checked(metrics.one_dump(from_text(source, text)))]
    return []


def _in_json(source: str, text: str) -> list[Aggregate]:
    data = parsed_json(source, text)
    if data is None:
        return []
    if is_range_query(data):
        ends = from_range_query(source, data, metrics.gives_a_mean)
        if len(ends) == 1:
            return [checked(metrics.one_dump(ends[0]))]
        return [checked(metrics.difference(ends[0], ends[1], ends[1].at_s - ends[0].at_s))]
    if isinstance(data, dict) and guidellm.matches(data):
        return [
            checked(guidellm.read(f"{source}, benchmarks[{place}]", benchmark))
            for place, benchmark in enumerate(data["benchmarks"])
            if isinstance(benchmark, Mapping)
        ]
    if isinstance(data, list) and llmperf.matches_list(data):
        return [checked(llmperf.read_list(source, data))]
    if isinstance(data, dict):
        for keys, why in TELL_TOO_LITTLE:
            if keys <= data.keys():
                raise TraceError(f"{source}: {why}")
    runs = data if isinstance(data, list) else [data]
    if not runs or len(runs) > _MOST_RUNS or not all(isinstance(run, Mapping) for run in runs):
        return []
    return _each(source, runs) if any(_reader(run) for run in runs) else []


def _each(source: str, runs: list[Any]) -> list[Aggregate]:
    """The point of every run.

    Raises:
        TraceError: one is no report of the kind of the others.
    """
    readers = [_reader(run) for run in runs]
    found = []
    for place, (run, read) in enumerate(zip(runs, readers, strict=True)):
        where = source if len(runs) == 1 else f"{source}, run {place + 1}"
        if read is None:
            raise TraceError(f"{where}: is no report of the kind of the others")
        found.append(checked(read(where, run)))
    return found


def _in_table(source: str, text: str) -> list[Aggregate]:
    """A table with a run a row under a producer's own names, or one of genai-perf's or AIPerf's metrics."""
    try:
        rows = [row for row in csv.reader(text.lstrip("\ufeff").splitlines(), strict=True) if row]
    except csv.Error:
        return []
    names = rows[0]
    if genai_perf.is_table(names):
        found = genai_perf.from_table(rows)
        return [checked(genai_perf.read(source, found))] if genai_perf.matches(found) else []
    whole = [row for row in rows[1:] if len(row) == len(names)]
    runs = [{name: value for name, value in zip(names, row, strict=True) if value != ""} for row in whole]
    if not runs or len(runs) > _MOST_RUNS or _reader(runs[0]) is None:
        return []
    if len(runs) < len(rows) - 1:
        raise TraceError(f"{source}: a row has another number of fields than the header ({len(names)})")
    return _each(source, runs)


def _reader(run: Mapping[str, Any]) -> Read | None:
    return next((read for matches, read in PRODUCERS if matches(run)), None)


def parsed_json(source: str, text: str) -> Any:
    """The JSON value, or the list of a file with one value a line; None where it is neither.

    Raises:
        TraceError: the nesting is deeper than any report's, or an object has a key twice.
    """
    try:
        return json.loads(text.lstrip("\ufeff"), object_pairs_hook=each_key_once)
    except RecursionError:
        raise TraceError(f"{source}: is nested deeper than any report") from None
    except TwiceError as error:
        raise TraceError(f"{source}: {error}") from None
    except ValueError:
        pass
    lines: list[Any] = []
    try:
        for line in text.lstrip("\ufeff").splitlines():
            if line.strip():
                lines.append(json.loads(line, object_pairs_hook=each_key_once))
    except TwiceError as error:
        raise TraceError(f"{source}, run {len(lines) + 1}: {error}") from None
    except (ValueError, RecursionError):
        return None
    return lines


def _yaml(source: str, text: str) -> Any:
    try:
        loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
        refuse_twice(yaml.compose(text, Loader=loader))
        return yaml.load(text, Loader=loader)
    except TwiceError as error:
        raise TraceError(f"{source}: {error}") from None
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        raise TraceError(f"{source}: is no YAML ({str(error).splitlines()[0]})") from None


