"""A run folder read back as a run, and the page made of it: by ``servecap report``, and at the end of a sweep, whose jobs
leave the pages to it, since only the answer's is kept."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from sim.analysis.economics import Decision
from sim.cli.search_table import load_section_of
from sim.cli.stored import stored_cost, stored_events, stored_frame, stored_manifest, stored_scenario, stored_summary
from sim.record import ItlHistogram, Result
from sim.record.result import TIER_COLUMNS
from sim.report import write_report_html
from sim.spec.search import OutputSpec

_NEEDED = (
    "config.yaml", "summary.json", "cost.json", "events.jsonl", "requests.parquet", "timeseries.parquet",
    "replicas.parquet",
)  # fmt: skip


def missing_of_run(folder: Path) -> list[str]:
    """What a page is made of and is not there."""
    return [name for name in _NEEDED if not (folder / name).is_file()]


def leaves_its_page(output: OutputSpec) -> bool:
    """Whether a run with ``output`` stores all that its page is made of, so that it can be made later."""
    return output.requests and output.timeseries


def write_page(
    folder: Path, result: Result, summary: dict[str, Any], decisions: Sequence[Decision] | None = None
) -> None:
    """``report.html`` of the run that ``folder`` holds; ``decisions`` are its own, where they are known already."""
    command = str(stored_manifest(folder).get("decide", "servecap decide"))
    extra = load_section_of(folder, result, summary)
    write_report_html(folder, result, summary, stored_cost(folder), extra=extra, command=command, decisions=decisions)


def stored_result(folder: Path) -> tuple[Result, dict[str, Any]]:
    """The result that a run folder holds, and its summary. The ITL histogram is not stored: its quantiles are in the
    summary."""
    summary = stored_summary(folder)
    scenario = stored_scenario(folder)
    requests = stored_frame(folder / "requests.parquet", ("arrival_s", "outcome"))
    events = stored_events(folder)
    simulation = summary["simulation"]
    result = Result(
        scenario=scenario,
        requests=requests,
        replicas=stored_frame(folder / "replicas.parquet"),
        timeseries=stored_frame(folder / "timeseries.parquet"),
        ranks=_frame_if_any(folder / "ranks.parquet"),
        tiers=_tiers_if_any(folder / "tiers.parquet"),
        features=_frame_if_any(folder / "features.parquet"),
        events=events,
        itl=ItlHistogram(np.array([1e-3, 1e-2]), np.array([0])),
        end_s=simulation["simulated_s"],
        last_arrival_s=float(requests["arrival_s"].max()) if len(requests) else math.nan,
        engine_steps=simulation["engine_steps"],
        kernel_events=simulation["kernel_events"],
        wall_s=simulation["wall_s"],
        cpu_s=simulation["cpu_s"],
        stopped_early=summary["slo"].get("stopped_early"),
        api_bill_usd=stored_manifest(folder).get("api_bill_usd", {}),
        left_out=summary.get("left_out") or {},
    )
    return result, summary


def _frame_if_any(path: Path) -> pd.DataFrame | None:
    return stored_frame(path) if path.is_file() else None


def _tiers_if_any(path: Path) -> pd.DataFrame | None:
    """Folders written before there were other tiers do not say that theirs is host memory."""
    frame = _frame_if_any(path)
    if frame is None or "tier" in frame.columns:
        return frame
    return frame.assign(tier="host", from_others_tokens=0, lost_bytes=0.0)[list(TIER_COLUMNS)]
