"""inference-perf (kubernetes-sigs): ``stage_N_lifecycle_metrics.json`` and the summary over stages; seconds.

A stage is open (``requested_rate``) or, in newer versions, closed (``concurrency``). The summary over stages mixes loads.

Source: inference_perf/reportgen/base.py.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from sim.measured.aggregate import Aggregate, Load
from sim.measured.fields import Fields

PRODUCER = "inference-perf"


def matches(entry: Mapping[str, Any]) -> bool:
    """By its sections."""
    return {"load_summary", "successes"} <= entry.keys()


def read(source: str, entry: Mapping[str, Any]) -> Aggregate:
    """The stage's means."""
    fields = Fields(source, entry)
    rate, users = fields.rate("load_summary.requested_rate"), fields.rate("load_summary.concurrency")
    load = Load(in_flight=users) if users is not None else Load(rate_per_s=rate)
    failed = fields.number("failures.count")
    notes = (f"{int(failed)} failed requests left out",) if failed > 0 else ()
    duration_s = fields.number("load_summary.send_duration")
    throughput = fields.number("successes.throughput.requests_per_sec")
    return Aggregate(
        source, PRODUCER, fields.count("successes.count"), load,
        fields.required("successes.prompt_len.mean"), fields.required("successes.output_len.mean"),
        ttft_s=fields.number("successes.latency.time_to_first_token.mean"),
        tpot_s=fields.number("successes.latency.time_per_output_token.mean"),
        e2e_s=fields.number("successes.latency.request_latency.mean"),
        # requests are sent for so long and answered for longer: no law ties the two
        duration_s=math.nan if not math.isnan(throughput) else duration_s, throughput_per_s=throughput, notes=notes,
    )  # fmt: skip
