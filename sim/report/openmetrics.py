"""Metrics under vLLM's own names, as OpenMetrics text: of a run at each moment of its time series, and of a live stand-in.

Names, labels (``model_name``, ``engine``) and buckets are those of ``vllm/v1/metrics/loggers.py``, so that a simulated and
a real dashboard look alike. What a run does not record (queues of single engines, iteration sizes) is left out. With
timestamps the text is what ``promtool tsdb create-blocks-from openmetrics`` takes into a Prometheus database.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from sim.record.result import ANSWERED, Result

CONTENT_TYPE = "application/openmetrics-text; version=1.0.0; charset=utf-8"
TTFT_BUCKETS_S = (
    0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0, 20.0, 40.0, 80.0, 160.0,
    640.0, 2560.0,
)  # fmt: skip
TOKEN_BUCKETS_S = (
    0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0, 20.0, 40.0, 80.0,
)  # fmt: skip
REQUEST_BUCKETS_S = (
    0.3, 0.5, 0.8, 1.0, 1.5, 2.0, 2.5, 5.0, 10.0, 15.0, 20.0, 30.0, 40.0, 50.0, 60.0, 120.0, 240.0, 480.0, 960.0, 1920.0,
    7680.0,
)  # fmt: skip
RUNNING, WAITING, KV = "vllm:num_requests_running", "vllm:num_requests_waiting", "vllm:kv_cache_usage_perc"
SUCCESS, PROMPT, GENERATION = "vllm:request_success", "vllm:prompt_tokens", "vllm:generation_tokens"
PREEMPTIONS, QUERIES, HITS = "vllm:num_preemptions", "vllm:prefix_cache_queries", "vllm:prefix_cache_hits"
TTFT, TPOT = "vllm:time_to_first_token_seconds", "vllm:request_time_per_output_token_seconds"
E2E, QUEUE = "vllm:e2e_request_latency_seconds", "vllm:request_queue_time_seconds"
LOST = "servecap:requests_lost"
"""Ours: requests that ended otherwise, by outcome; vLLM never sees them."""
HISTOGRAMS = {TTFT: TTFT_BUCKETS_S, TPOT: TOKEN_BUCKETS_S, E2E: REQUEST_BUCKETS_S, QUEUE: REQUEST_BUCKETS_S}
_HELP = {
    RUNNING: "Requests in execution batches.", WAITING: "Requests waiting to be processed.",
    KV: "KV-cache usage; 1 means 100 percent.", SUCCESS: "Requests that were answered.",
    PROMPT: "Prompt tokens of answered requests.",
    GENERATION: "Tokens of answers.", PREEMPTIONS: "Preemptions.", QUERIES: "Prefix cache queries, tokens.",
    HITS: "Prefix cache hits, tokens.", TTFT: "Time to first token, from the client's send.",
    TPOT: "Time per output token of a request, the first apart.", E2E: "Latency of requests, from send to last token.",
    QUEUE: "Time to the first schedule.", LOST: "Requests without an answer.",
}  # fmt: skip
MOST_MOMENTS = 500
"""A longer time series is thinned to as many."""


@dataclass
class Metrics:
    """The state of one fleet's metrics at one moment, as a scrape would see it."""

    gauges: dict[str, float] = field(default_factory=dict)
    counters: dict[tuple[str, str], float] = field(default_factory=dict)
    """(Name, value of its own label or "") -> total."""
    counts: dict[str, list[int]] = field(default_factory=dict)
    """Histogram -> observations in each bucket, the last without a bound."""
    sums: dict[str, float] = field(default_factory=dict)

    def observe(self, name: str, value: float) -> None:
        """One observation of a histogram; NaN is none."""
        if not math.isnan(value):
            counts = self.counts.setdefault(name, [0] * (len(HISTOGRAMS[name]) + 1))
            counts[int(np.searchsorted(HISTOGRAMS[name], value))] += 1
            self.sums[name] = self.sums.get(name, 0.0) + value

    def count(self, name: str, more: float = 1.0, label: str = "") -> None:
        """A counter rises."""
        self.counters[name, label] = self.counters.get((name, label), 0.0) + more


_OWN_LABEL = {SUCCESS: "finished_reason", LOST: "outcome"}


def openmetrics(moments: Iterable[tuple[float | None, Metrics]], model: str) -> str:
    """``moments`` (Unix seconds, or None for now; in order) as OpenMetrics text of the served ``model``."""
    told = list(moments)
    labels = f'model_name="{_escaped(model)}",engine="0"'
    lines: list[str] = []
    for name in (RUNNING, WAITING, KV):
        lines += _head(name, "gauge")
        lines += [f"{name}{{{labels}}} {_number(one.gauges.get(name, 0.0))}{_stamp(at)}" for at, one in told]
    for name in (SUCCESS, PROMPT, GENERATION, PREEMPTIONS, QUERIES, HITS, LOST):
        lines += _head(name, "counter")
        for own in sorted({label for _, one in told for counter, label in one.counters if counter == name}):
            where = f'{labels},{_OWN_LABEL[name]}="{_escaped(own)}"' if own else labels
            lines += [
                f"{name}_total{{{where}}} {_number(one.counters.get((name, own), 0.0))}{_stamp(at)}" for at, one in told
            ]
    for name, buckets in HISTOGRAMS.items():
        lines += _head(name, "histogram")
        for at, one in told:
            lines += _histogram(name, buckets, one, labels, _stamp(at))
    return "\n".join([*lines, "# EOF", ""])


def metrics_of(result: Result, start_unix_s: float) -> list[tuple[float | None, Metrics]]:
    """What a scrape would have seen at each moment of a run's time series; the run began at ``start_unix_s``."""
    series, requests = result.timeseries, result.requests.sort_values("finish_s", kind="stable")
    step = max(1, math.ceil(len(series) / MOST_MOMENTS))
    chosen = series.iloc[::step]
    if len(series) and (len(series) - 1) % step:
        chosen = pd.concat([chosen, series.iloc[[-1]]])
    answered = requests["outcome"].isin(ANSWERED).to_numpy()
    finish = requests["finish_s"].to_numpy()
    columns = {TTFT: "ttft_s", TPOT: "tpot_s", E2E: "e2e_s", QUEUE: "queue_s"}
    totals = result.replicas
    hit = float(totals["prefix_hits_tokens"].sum() / max(totals["prefix_queries_tokens"].sum(), 1))
    moments: list[tuple[float | None, Metrics]] = []
    seen = ("time_s", "running", "waiting", "kv_used")
    for time_s, running, waiting, kv_used in zip(*(chosen[name].to_numpy(dtype=float) for name in seen), strict=True):
        done = finish <= time_s
        good = requests[done & answered]
        one = Metrics(gauges={RUNNING: running, WAITING: waiting, KV: kv_used})
        for name, column in columns.items():
            values = good[column].dropna().to_numpy()
            places = np.searchsorted(HISTOGRAMS[name], values)
            one.counts[name] = np.bincount(places, minlength=len(HISTOGRAMS[name]) + 1).tolist()
            one.sums[name] = float(values.sum())
        one.count(SUCCESS, len(good), "stop")
        for outcome, lost in requests["outcome"][done & ~answered].value_counts().items():
            if lost:
                one.count(LOST, float(lost), str(outcome))
        prompt = float(good["input_tokens"].sum())
        one.count(PROMPT, prompt)
        one.count(GENERATION, float(good["output_tokens"].sum()))
        one.count(PREEMPTIONS, float(good["preemptions"].sum()))
        one.count(QUERIES, prompt)
        one.count(HITS, prompt * hit)
        moments.append((start_unix_s + time_s, one))
    return moments


def dashboard() -> str:
    """A Grafana dashboard (JSON) of these metrics, for a simulated server and a real vLLM alike."""
    by = 'model_name=~"$model"'
    rate = "$__rate_interval"
    panels = [
        ("Requests/s answered", "reqps", [(f"sum(rate({SUCCESS}_total{{{by}}}[{rate}]))", "answered"),
                                          (f"sum by (outcome) (rate({LOST}_total{{{by}}}[{rate}]))", "{{outcome}}")]),
        ("Tokens/s", "none", [(f"sum(rate({PROMPT}_total{{{by}}}[{rate}]))", "prompt"),
                              (f"sum(rate({GENERATION}_total{{{by}}}[{rate}]))", "answers")]),
        ("Requests running and waiting", "none", [(f"sum({RUNNING}{{{by}}})", "running"),
                                                  (f"sum({WAITING}{{{by}}})", "waiting")]),
        ("KV cache used", "percentunit", [(f"avg({KV}{{{by}}})", "used")]),
        *(
            (title, "s", [(f"histogram_quantile({q}, sum by (le) (rate({name}_bucket{{{by}}}[{rate}])))", f"p{int(q * 100)}")
                          for q in (0.5, 0.95, 0.99)])
            for title, name in (("Time to first token", TTFT), ("Time per output token", TPOT), ("Latency", E2E),
                                ("Time in the queue", QUEUE))
        ),
        ("Preemptions/s", "none", [(f"sum(rate({PREEMPTIONS}_total{{{by}}}[{rate}]))", "preemptions")]),
        ("Prefix cache hit rate", "percentunit", [
            (f"sum(rate({HITS}_total{{{by}}}[{rate}])) / sum(rate({QUERIES}_total{{{by}}}[{rate}]))", "hits")]),
    ]  # fmt: skip
    source = {"type": "prometheus", "uid": "${datasource}"}
    shown = [
        {
            "id": number + 1, "type": "timeseries", "title": title, "datasource": source,
            "gridPos": {"h": 8, "w": 12, "x": 12 * (number % 2), "y": 8 * (number // 2)},
            "fieldConfig": {"defaults": {"unit": unit, "min": 0}, "overrides": []},
            "targets": [{"refId": chr(65 + at), "expr": query, "legendFormat": legend, "datasource": source}
                        for at, (query, legend) in enumerate(queries)],
        }
        for number, (title, unit, queries) in enumerate(panels)
    ]  # fmt: skip
    variables = [
        {"name": "datasource", "type": "datasource", "query": "prometheus", "label": "Data source"},
        {"name": "model", "type": "query", "label": "Model", "datasource": source, "includeAll": True, "allValue": ".*",
         "query": f"label_values({RUNNING}, model_name)", "refresh": 2},
    ]  # fmt: skip
    board = {
        "title": "LLM serving: simulated and real", "uid": "servecap-serving", "schemaVersion": 39, "editable": True,
        "time": {"from": "now-1h", "to": "now"}, "templating": {"list": variables}, "panels": shown,
    }  # fmt: skip
    return json.dumps(board, indent=1) + "\n"


def _head(name: str, kind: str) -> list[str]:
    return [f"# TYPE {name} {kind}", f"# HELP {name} {_HELP[name]}"]


def _histogram(name: str, buckets: Sequence[float], one: Metrics, labels: str, stamp: str) -> list[str]:
    counts = one.counts.get(name, [0] * (len(buckets) + 1))
    bounds: list[float] = [*buckets, math.inf]
    lines, total = [], 0
    for bound, count in zip(bounds, counts, strict=True):
        total += count
        le = "+Inf" if math.isinf(bound) else repr(float(bound))
        lines.append(f'{name}_bucket{{{labels},le="{le}"}} {total}{stamp}')
    lines.append(f"{name}_count{{{labels}}} {total}{stamp}")
    return [*lines, f"{name}_sum{{{labels}}} {_number(one.sums.get(name, 0.0))}{stamp}"]


def _number(value: float) -> str:
    return "NaN" if math.isnan(value) else repr(float(value))


def _stamp(at_s: float | None) -> str:
    return "" if at_s is None else f" {at_s:.3f}"


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
