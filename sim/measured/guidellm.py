"""guidellm reports that kept a sample of their requests (``config.sample_size``), as runs of means.

``metrics.request_totals.successful``, or the scheduler's count, says how many were answered. Fewer in
``requests.successful`` means that arrivals between the kept ones are gone: neither a rate nor a queue can be read off
them. The means stay: those of ``metrics`` (``time_to_first_token_ms.successful.mean`` and its kin) where they are, else
of the kept requests.

Source: vllm-project/guidellm, src/guidellm/benchmark (0.2 to 0.8).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from sim.errors import TraceError
from sim.measured.aggregate import Aggregate, Load
from sim.measured.fields import Fields, mean

PRODUCER = "guidellm"


def matches(entry: Mapping[str, Any]) -> bool:
    """By its list of benchmarks."""
    return isinstance(entry.get("benchmarks"), list)


def answered_and_kept(benchmark: Mapping[str, Any]) -> tuple[int | None, int]:
    """Requests answered, as its totals say (None: they do not), and requests kept in the report."""
    totals = Fields("", benchmark).value("metrics.request_totals.successful", "request_totals.successful",
                                         "run_stats.requests_made.successful",
                                         "scheduler_state.successful_requests")  # fmt: skip
    kept = Fields("", benchmark).value("requests.successful", "requests")  # the first versions list them without a status
    answered = totals if isinstance(totals, int) and not isinstance(totals, bool) else None
    return answered, len(kept) if isinstance(kept, list) else 0


def is_sample(benchmark: Mapping[str, Any]) -> bool:
    """Whether requests that were answered are not in the report, or may not be: as many are there as it was told to keep."""
    answered, kept = answered_and_kept(benchmark)
    if answered is not None:
        return kept < answered
    size = Fields("", benchmark).value("config.sample_size", "args.sample_size", "sample_size")
    return isinstance(size, int) and not isinstance(size, bool) and kept == size


def read(source: str, benchmark: Mapping[str, Any]) -> Aggregate:
    """The means of one benchmark."""
    fields = Fields(source, benchmark)
    answered, kept = answered_and_kept(benchmark)
    requests = kept if answered is None else answered
    listed = fields.value("requests.successful") or []
    rows = [Fields(f"{source}, request {n}", row) for n, row in enumerate(listed, 1) if isinstance(row, Mapping)]

    def of(metric: str, *names: str, unit: float = 1.0) -> float:
        found = fields.number(f"metrics.{metric}.successful.mean", unit=unit)
        return found if not math.isnan(found) else mean(row.required(*names, unit=unit) for row in rows)

    if not rows and fields.value("metrics.request_latency.successful.mean") is None:
        raise TraceError(f"{source}: holds neither requests nor means")
    # its own TPOT counts the first token; the gap between tokens does not
    gap_ms = fields.number("metrics.inter_token_latency_ms.successful.mean", unit=1e-3)
    gaps = [row.number("inter_token_latency_ms", unit=1e-3) for row in rows]
    notes = (f"the report kept {kept} of {requests} requests",) if kept < requests else ()
    if answered is None and is_sample(benchmark):
        notes = (f"the report kept {kept} requests and does not say of how many",)
    return Aggregate(
        source, PRODUCER, requests, _load(fields),
        of("prompt_token_count", "prompt_tokens", "input_metrics.total_tokens", "input_metrics.text_tokens"),
        of("output_token_count", "output_tokens", "output_metrics.total_tokens", "output_metrics.text_tokens"),
        ttft_s=of("time_to_first_token_ms", "time_to_first_token_ms", unit=1e-3),
        tpot_s=gap_ms if not math.isnan(gap_ms) else mean(gap for gap in gaps if not math.isnan(gap)),
        e2e_s=of("request_latency", "request_latency"), notes=notes,
        throughput_per_s=fields.number("metrics.requests_per_second.successful.mean"),
    )  # fmt: skip


def _load(fields: Fields) -> Load:
    kind = str(fields.value("config.strategy.type_", "args.strategy.type_") or "")
    strategy = "config.strategy" if fields.value("config.strategy") is not None else "args.strategy"
    if kind in ("constant", "poisson", "async"):
        return Load(rate_per_s=fields.rate(f"{strategy}.rate"))
    if kind == "synchronous":
        return Load(in_flight=1.0)
    if kind in ("concurrent", "throughput"):
        return Load(in_flight=fields.rate(f"{strategy}.streams", f"{strategy}.max_concurrency"))
    streams = fields.value("config.profile.streams")
    if isinstance(streams, list) and len(streams) == 1:
        return Load(in_flight=Fields(fields.source, {"streams": streams[0]}).rate("streams"))
    mean_in_flight = fields.number("metrics.request_concurrency.successful.mean")
    if math.isnan(mean_in_flight):
        return Load()
    return Load(in_flight=mean_in_flight, stated=f"{mean_in_flight:.4g} requests in flight on average")
