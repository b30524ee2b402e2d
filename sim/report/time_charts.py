"""The run over time: what the time series holds, thinned to what a picture can show."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pandas as pd
from markupsafe import Markup

from sim.record.result import Result
from sim.report.chart import Chart, Series, figure
from sim.report.page import NOTHING, part
from sim.report.scale import number
from sim.report.shapes import DASHES

_MOST_POINTS = 400


def _thin(frame: pd.DataFrame) -> pd.DataFrame:
    """At most ``_MOST_POINTS`` rows: every n-th, the last one kept."""
    every = max(1, -(-len(frame) // _MOST_POINTS))
    return frame.iloc[::-1].iloc[::every].iloc[::-1]


def time_charts(result: Result) -> Markup:
    """Arrivals, requests in the engines, KV, batch, replicas, power and the rolling p95, over the run; of engines only where
    some ran."""
    if result.timeseries.empty:
        return NOTHING
    drawn = _charts(result.timeseries)
    time_s = [_rounded(x) for x in drawn[0].series[0].x]
    lines = {"time_s": time_s, "charts": [{"unit": chart.y_label, "lines": [*map(_line, chart.series)]} for chart in drawn]}
    figures = Markup("\n").join(figure(chart, table=False, over_time=True) for chart in drawn)
    return part("times", figures, lines)


def _line(series: Series) -> dict[str, Any]:
    """A series for ``reading.js``: undefined values are null."""
    dash = [float(length) for length in DASHES[series.colour % len(DASHES)].split()]
    values = [_rounded(y) for y in series.y]
    return {"name": series.name, "colour": series.colour, "dash": dash, "step": series.kind == "step", "values": values}


def _rounded(value: float) -> float | None:
    return float(f"{value:.5g}") if math.isfinite(value) else None


def _charts(series: pd.DataFrame) -> list[Chart]:
    step_s = float(series["time_s"].diff().median()) if len(series) > 1 else 1.0
    every = max(1, -(-len(series) // _MOST_POINTS))
    rates = series["arrivals"].rolling(every, min_periods=1).mean() / (step_s or 1.0)
    handing = series["transfer_bytes"].fillna(0.0)
    moved = {"transfer_bytes": "gb_per_s", "kv_host_loaded_bytes": "loaded_gb_per_s", "kv_promoted_bytes": "asked_gb_per_s"}
    flows = {
        flow: series[column].fillna(0.0).rolling(every, min_periods=1).mean() / (step_s or 1.0) / 1e9
        for column, flow in moved.items()
        if column in series
    }
    view = _thin(series.assign(rate=rates, **flows))
    time = view["time_s"].tolist()

    def draw(title: str, y_label: str, *lines: tuple[str, str], scale: float = 1.0, kind: Any = "line") -> Chart:
        drawn = [
            Series(name, time, (view[column] * scale).tolist(), kind=kind, colour=index)
            for index, (name, column) in enumerate(lines)
        ]
        peaks = "; ".join(
            f"{name} peaks at {number(float(np.nanmax([*line.y, 0.0])))}"
            for (name, _), line in zip(lines, drawn, strict=True)
        )
        return Chart(title, "seconds into the run", y_label, drawn, f"{title}: {peaks}.", height=220)

    handed = [draw("KV caches read from other replicas", "GB a second", ("read", "gb_per_s"))] if handing.any() else []
    beside = [("pinned for others", "kv_pinned")] if handing.any() else []
    tiers = []
    if "kv_host_used" in series:
        beside.append(("host memory", "kv_host_used"))
        asked = [("asked of disks and stores", "asked_gb_per_s")] if series["kv_promoted_bytes"].any() else []
        tiers = [draw("KV loaded instead of computed", "GB a second", ("from host memory", "loaded_gb_per_s"), *asked)]
    arrivals = draw("Arrivals", "requests per second", ("arrivals", "rate"))
    tail = draw("Rolling p95 of the last minute", "seconds", ("TTFT p95", "ttft_p95_s"), ("E2E p95", "e2e_p95_s"))
    if not series.filter(like="replicas_").to_numpy().any():  # APIs alone answer
        return [arrivals, tail]
    return [
        arrivals,
        draw("Requests in the engines", "requests", ("running", "running"), ("waiting", "waiting")),
        draw("KV cache in use", "% of the blocks", ("KV", "kv_used"), *beside, scale=100.0),
        *handed,
        *tiers,
        draw("Batch per replica", "sequences", ("batch", "batch")),
        draw(
            "Replicas", "replicas", ("ready", "replicas_ready"), ("starting", "replicas_starting"),
            ("draining", "replicas_draining"), ("dead", "replicas_dead"), kind="step",
        ),
        draw("Power of the GPUs", "kilowatts", ("power", "watts"), scale=1e-3),
        tail,
    ]  # fmt: skip
