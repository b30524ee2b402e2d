"""Write a run folder: every file is written beside its place and renamed, so that nothing half-written looks finished.

Undefined numbers are null in JSON and NaN in Parquet. ``summary.json`` comes last: a folder that has one is complete.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
from markupsafe import Markup
from pyarrow.parquet import ParquetWriter

from sim.analysis import CostNode, with_costs
from sim.analysis.economics import Decision
from sim.analysis.summary import undefined_to_none
from sim.columns import slices
from sim.errors import OutputError
from sim.record.result import Result
from sim.report.page import NOTHING
from sim.report.run_page import run_page

_FILES = (
    "job.json", "summary.json", "config.yaml", "manifest.json", "cost.json", "events.jsonl", "search.csv", "report.html",
    "requests.parquet", "replicas.parquet", "timeseries.parquet", "ranks.parquet", "tiers.parquet", "features.parquet",
    "steps.parquet",
)  # fmt: skip
"""What a job leaves, in the order in which a rerun removes it."""


def write_run(
    folder: Path,
    result: Result,
    summary: Mapping[str, Any],
    cost_tree: CostNode,
    config_yaml_text: str,
    manifest: Mapping[str, Any],
    *,
    extra: Markup = NOTHING,
    command: str = "servecap decide",
    decisions: Sequence[Decision] | None = None,
    page: bool = True,
) -> None:
    """Write what ``scenario.output`` asks for (but the page where it is made later), and always config, manifest, summary,
    cost and events.

    Raises:
        OutputError: the folder cannot be written.
    """
    output = result.scenario.output
    write_text(folder / "config.yaml", config_yaml_text)
    write_json(folder / "manifest.json", {**manifest, "api_bill_usd": result.api_bill_usd})
    write_json(folder / "cost.json", cost_tree.as_dict())
    write_text(folder / "events.jsonl", "".join(_json(event, indent=None) + "\n" for event in result.events))
    if output.requests:
        write_parquet(folder / "requests.parquet", with_costs(result, cost_tree).requests)
    if output.timeseries:
        write_parquet(folder / "timeseries.parquet", result.timeseries)
    if result.ranks is not None:
        write_parquet(folder / "ranks.parquet", result.ranks)
    if result.tiers is not None:
        write_parquet(folder / "tiers.parquet", result.tiers)
    if result.features is not None:
        write_parquet(folder / "features.parquet", result.features)
    if output.steps and result.steps is not None:
        write_parquet(folder / "steps.parquet", result.steps)
    if output.report and page:
        write_report_html(folder, result, summary, cost_tree, extra=extra, command=command, decisions=decisions)
    write_json(folder / "summary.json", summary)


def clear_run(folder: Path) -> None:
    """Remove what an earlier run left in ``folder``, first of all what says that it is complete.

    Raises:
        OutputError: something cannot be removed.
    """
    leftovers = sorted(folder.glob(".*.part")) if folder.is_dir() else []
    for path in [*(folder / name for name in _FILES), *leftovers]:
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            raise OutputError(f"{path}: cannot be removed ({error.strerror or error})") from None


def write_report_html(
    folder: Path,
    result: Result,
    summary: Mapping[str, Any],
    cost_tree: CostNode,
    *,
    extra: Markup = NOTHING,
    command: str = "servecap decide",
    decisions: Sequence[Decision] | None = None,
) -> None:
    """Write ``report.html`` of a run."""
    page = run_page(result, summary, cost_tree, extra=extra, command=command, decisions=decisions)
    write_text(folder / "report.html", page)


def write_text(path: Path, text: str) -> None:
    """Write ``text`` to ``path``, whole or not at all."""
    _write(path, lambda beside: beside.write_text(text, encoding="utf-8"))


def write_json(path: Path, data: Any) -> None:
    """Write ``data`` as JSON; NaN and infinity become null."""
    write_text(path, json_text(data) + "\n")


def json_text(data: Any) -> str:
    """``data`` as JSON for people and programs; NaN and infinity become null."""
    return _json(data, indent=2)


def write_parquet(path: Path, frame: pd.DataFrame) -> None:
    """Write a table as Parquet, a row group after the other."""
    _write(path, lambda beside: _write_row_groups(beside, frame))


def _write_row_groups(path: Path, frame: pd.DataFrame) -> None:
    schema = pa.Schema.from_pandas(frame, preserve_index=False)
    with ParquetWriter(path, schema, compression="snappy") as writer:
        for here in slices(max(len(frame), 1)):
            writer.write_table(pa.Table.from_pandas(frame.iloc[here], schema=schema, preserve_index=False))


def _json(data: Any, indent: int | None) -> str:
    return json.dumps(undefined_to_none(data), indent=indent, allow_nan=False, default=_plain, ensure_ascii=False)


def _plain(value: Any) -> Any:
    """NumPy scalars and paths as JSON knows them."""
    if hasattr(value, "item"):
        return undefined_to_none(value.item())
    return str(value)


def _write(path: Path, write: Callable[[Path], object]) -> None:
    beside = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write(beside)
        beside.replace(path)
    except OSError as error:
        with contextlib.suppress(OSError):
            beside.unlink()
        raise OutputError(f"{path}: cannot be written ({error.strerror or error})") from error
