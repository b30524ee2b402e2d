"""``to_frame``: any result as a table whose column names hold the units."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import singledispatch
from typing import Any

import pandas as pd

from sim.decision import Row
from sim.library.answers import Sizing
from sim.record import Result
from sim.search import Answer, Point
from sim.workload import Trace


@singledispatch
def to_frame(of: Any) -> pd.DataFrame:
    """A pandas frame of what ``simulate``, ``load_trace``, ``summarize``, ``size``, ``capacity`` or ``decide`` returned.

    Returns:
        One row a request (a result, a trace), a batch size (``size``), a simulated load (``capacity``), an option
        (``decide``), or one row in all with dotted columns (a summary). Units are in the columns' names: ``_s`` seconds,
        ``_tokens``, ``_bytes``, ``_usd``; what is undefined is NaN.

    Raises:
        TypeError: it is none of these.

    >>> import sim
    >>> result = sim.simulate(sim.scenario(workload={"limit": 200}))
    >>> sim.to_frame(result)[["ttft_s", "tpot_s", "e2e_s"]].shape
    (200, 3)
    >>> "latency.ttft_s.p95" in sim.to_frame(sim.summarize(result)).columns
    True
    """
    raise TypeError(f"to_frame takes a result, trace, summary, sizing, answer or list of rows, but got {type(of).__name__}")


@to_frame.register
def _result(of: Result) -> pd.DataFrame:
    return of.requests


@to_frame.register
def _trace(of: Trace) -> pd.DataFrame:
    columns = {"arrival_s": of.arrival_s, "input_tokens": of.input_tokens, "output_tokens": of.output_tokens}
    return pd.DataFrame(columns | dict(of.labels))


@to_frame.register
def _answer(of: Answer) -> pd.DataFrame:
    return pd.DataFrame([_point(point) for point in of.points])


@to_frame.register
def _sizing(of: Sizing) -> pd.DataFrame:
    best = of.best
    return pd.DataFrame([
        {"gpu": row.scenario.gpu.name, "max_num_seqs": row.max_num_seqs}
        | ({} if row.answer is None else _point(row.answer.point))
        | {"holds": row.holds, "best": row is best, "reason": row.reason}
        for row in of.rows
    ])  # fmt: skip


@to_frame.register(dict)
def _summary(of: Mapping[str, Any]) -> pd.DataFrame:
    return pd.json_normalize(dict(of))


@to_frame.register(list)
def _rows(of: Sequence[Row]) -> pd.DataFrame:
    return pd.json_normalize([row.as_dict() for row in of])


def _point(point: Point) -> dict[str, Any]:
    return {
        "replicas": point.replicas, "rate_scale": point.rate_scale, "seed": point.seed, **point.attained,
        "verdict": point.verdict, "usd_per_hour": point.usd_per_hour,
        "usd_per_1m_output_tokens": point.usd_per_1m_output_tokens, "output_tokens_per_s": point.output_tokens_per_s,
    }  # fmt: skip
