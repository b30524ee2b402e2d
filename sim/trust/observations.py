"""``read_observations``: the measured runs in files and whole artifact folders.

A folder is walked with its sub-folders. What is no result (settings, telemetry, pictures) is named as skipped, and so
is what says the same again: AIPerf's summary beside its requests, guidellm's CSV and HTML beside its JSON,
inference-perf's summary over stages beside the stages, a run listed twice. ``/metrics`` dumps of one server become the
differences between them, in the order of the work done.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from sim.errors import TraceError
from sim.measured import checked, metrics, names_a_result
from sim.measured.prometheus import Samples, from_text
from sim.trust.measured_run import Observations, standing_for
from sim.trust.request_logs import names_requests, runs_in
from sim.workload.source import head_of, whole_text

__all__ = ["Observations", "Readings", "read_measurements", "read_observations"]

_SHORTEST_S = 1.0
"""Files written closer together were copied together: their times tell nothing."""
_PICTURES = {".png", ".svg", ".html", ".htm", ".pdf", ".pyc", ".lock", ".log"}


@dataclass
class Readings:
    """The runs found, and what was not used with its reason."""

    runs: list[Observations] = field(default_factory=list)
    skipped: list[tuple[str, str]] = field(default_factory=list)
    """(file, why)."""


@dataclass(frozen=True)
class Known:
    """What a user can say of runs whose files do not state it."""

    concurrency: float | None = None
    """Requests in flight."""
    interval_s: float | None = None
    """Seconds between two ``/metrics`` dumps."""


def read_observations(path: str | Path) -> list[Observations]:
    """Every run in the file or folder ``path``.

    Raises:
        TraceError: nothing there, or a file is none of the known formats.
    """
    return read_measurements([Path(path)]).runs


def read_measurements(paths: Sequence[Path], known: Known | None = None) -> Readings:
    """Every run in the files and folders ``paths``.

    Raises:
        TraceError: a file named by itself cannot be used, or nothing in a folder can.
    """
    known = known or Known()
    found = Readings()
    dumps: list[Samples] = []
    for path in paths:
        for file in _files(path):
            named = path == file
            try:
                _read(file, named, found, dumps, known)
            except TraceError as error:
                if named:
                    raise
                found.skipped.append((str(file), str(error).removeprefix(f"{file}: ")))
    _add_dumps(dumps, found, known, alone=len(paths) == 1 and paths[0].is_file())
    _leave_out_repeats(found)
    if not found.runs:
        names = ", ".join(map(str, paths))
        why = "".join(f"\n  {file}: {reason}" for file, reason in found.skipped[:20])
        raise TraceError(f"{names}: holds no benchmark result, request log or metrics dump that can be used{why}")
    return found


def _files(path: Path) -> Iterable[Path]:
    if not path.is_dir():
        return [path]
    return sorted(file for file in path.rglob("*") if file.is_file())


def _read(file: Path, named: bool, found: Readings, dumps: list[Samples], known: Known) -> None:
    """Adds the runs of ``file``, or its place among the skipped."""
    if not named and file.suffix.lower() in _PICTURES:
        found.skipped.append((str(file), "is no result file"))
        return
    head = head_of(file).decode("utf-8", errors="replace")
    if not named and not (names_a_result(head) or names_requests(head)):
        found.skipped.append((str(file), "is no benchmark result, request log or metrics dump"))
        return
    text = whole_text(file)
    if head.lstrip("\ufeff \t\r\n")[:1] not in ("{", "[") and metrics.names_a_server(text):
        dump = from_text(str(file), text)
        metrics.known_server(dump)
        dumps.append(dump)
        return
    found.runs += runs_in(str(file), text, known.concurrency)


def _add_dumps(dumps: list[Samples], found: Readings, known: Known, alone: bool) -> None:
    """Runs out of ``/metrics`` dumps: each server's are taken together."""
    servers: list[list[Samples]] = []
    for dump in metrics.in_order(dumps):
        server = next((held for held in servers if metrics.same_server(held[-1], dump)), None)
        if server is None:
            servers.append([dump])
        elif metrics.nothing_between(server[-1], dump):  # one of the two is enough: the one that shows a load
            idle = dump if metrics.is_busy(server[-1]) else server[-1]
            server[-1] = server[-1] if idle is dump else dump
            found.skipped.append((idle.source, f"counts the same requests as {server[-1].source}"))
        else:
            server.append(dump)
    for held in servers:
        if len(held) > 1:
            _add_differences(held, found, known)
            continue
        try:
            point = (
                metrics.one_dump(held[0]) if known.concurrency is None
                else metrics.at_concurrency(held[0], known.concurrency)
            )  # fmt: skip
            found.runs.append(standing_for(checked(point)))
        except TraceError as error:
            if alone:
                raise
            found.skipped.append((held[0].source, str(error).removeprefix(f"{held[0].source}: ")))


def _add_differences(held: list[Samples], found: Readings, known: Known) -> None:
    for earlier, later in itertools.pairwise(held):
        interval_s, how = known.interval_s or later.at_s - earlier.at_s, ""
        if math.isnan(interval_s) and not (metrics.is_busy(earlier) or metrics.is_busy(later)):
            interval_s, how = _modified_s(later) - _modified_s(earlier), " between the files' times"
            interval_s = interval_s if interval_s >= _SHORTEST_S else math.nan
        try:
            point = metrics.difference(earlier, later, interval_s, how_known=how, in_flight=known.concurrency)
            found.runs.append(standing_for(checked(point)))
        except TraceError as error:
            found.skipped.append((later.source, str(error).removeprefix(f"{later.source}: ")))


def _modified_s(dump: Samples) -> float:
    return Path(dump.source).stat().st_mtime


def _leave_out_repeats(found: Readings) -> None:
    """Moves what says again what another file says to the skipped."""
    kept: list[Observations] = []
    folders = {Path(run.source).parent for run in found.runs if run.point is None}
    stages = {Path(run.source).parent for run in found.runs if Path(run.source).name.startswith("stage_")}
    seen: dict[str, str] = {}
    for run in found.runs:
        file = Path(run.source.partition(", ")[0])
        if run.point is None:
            kept.append(run)
            continue
        means = (run.point.requests, run.point.input_tokens, run.point.ttft_s, run.point.tpot_s, run.point.e2e_s)
        if file.parent in folders and run.point.producer in ("AIPerf", "genai-perf"):
            found.skipped.append((run.source, "is the summary of the requests beside it"))
        elif file.parent in stages and file.name.startswith("summary_"):
            found.skipped.append((run.source, "is the summary over the stages beside it, which mixes their loads"))
        elif str(means) in seen and not run.point.producer.endswith("/metrics"):
            found.skipped.append((run.source, f"says the same as {seen[str(means)]}"))
        else:
            seen[str(means)] = run.source
            kept.append(run)
    found.runs = kept
