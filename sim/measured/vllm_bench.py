"""``vllm bench serve`` and ``benchmark_serving.py``: one JSON object a run, or a list of them from ``vllm bench sweep``.

Milliseconds in ``mean_ttft_ms``, ``mean_tpot_ms``, ``mean_e2el_ms`` (the last only where asked for). ``request_rate``
is a number or "inf"; ``max_concurrency`` caps the requests in flight. Rate "inf" without a cap sends all at once. With
``--save-detailed`` the lengths, TTFTs and gaps of each request are there, in some versions and in InferenceMAX's fork
without the time it was sent: then they are a run of means too. SGLang's own ``bench_serving`` has the same names, and
``mean_e2e_latency_ms`` (see ``sglang_bench``).

Source: vllm/benchmarks/serve.py (vLLM 0.10 to 0.33).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from sim.errors import TraceError
from sim.measured.aggregate import Aggregate, Load
from sim.measured.fields import Fields, mean

PRODUCER = "vllm bench serve"


def matches(entry: Mapping[str, Any]) -> bool:
    """A summary of its, or the detail of its requests."""
    return {"completed", "total_input_tokens", "total_output_tokens"} <= entry.keys() and (
        "mean_ttft_ms" in entry or "request_throughput" in entry or "ttfts" in entry
    )


def read(source: str, entry: Mapping[str, Any], producer: str = PRODUCER) -> Aggregate:
    """The run's means; from the requests themselves where the file holds them."""
    fields = Fields(source, entry)
    requests = fields.count("completed")
    if requests == 0:
        raise TraceError(f"{source}: {producer} answered no request; legal is at least one")
    detail = _detail(fields)
    rate, cap = fields.rate("request_rate"), fields.rate("max_concurrency")
    throughput = fields.number("request_throughput")
    notes = []
    ramps = fields.value("ramp_up_strategy") is not None
    if ramps:
        notes.append("the rate ramped up: its mean load stands for it")
    failed = fields.number("failed")
    if failed > 0:
        notes.append(f"{int(failed)} failed requests left out")
    return Aggregate(
        source, producer, requests,
        Load() if ramps else load(rate, cap, throughput, requests, fields.number("burstiness")),
        fields.required("total_input_tokens") / requests, fields.required("total_output_tokens") / requests,
        ttft_s=detail.get("ttft_s", fields.number("mean_ttft_ms", unit=1e-3)),
        tpot_s=_nothing_is_nan(fields.number("mean_tpot_ms", unit=1e-3)),
        e2e_s=detail.get("e2e_s", fields.number("mean_e2el_ms", "mean_e2e_latency_ms", unit=1e-3)),
        duration_s=fields.number("duration"), throughput_per_s=throughput, lengths=detail.get("lengths", ()),
        notes=tuple(notes),
    )  # fmt: skip


def load(rate: float | None, cap: float | None, served_per_s: float, requests: int, burstiness: float = math.nan) -> Load:
    """The load of a harness that sends at ``rate`` (None: at once) with at most ``cap`` in flight (None: any number).

    A rate that the server did not reach because the cap held requests back is a closed loop.
    """
    if rate is None:
        if cap is not None and cap < requests:
            return Load(in_flight=cap)
        return Load(in_flight=float(requests), stated=f"all {requests} requests at once")
    if cap is not None and served_per_s < 0.9 * rate:
        held = f"asked {rate:.4g}/s, got {served_per_s:.4g}/s"
        return Load(in_flight=cap, stated=f"at most {cap:.4g} requests in flight ({held})")
    shape = 1.0 if math.isnan(burstiness) or burstiness == 0 else burstiness
    return Load(rate_per_s=rate, burstiness=shape)


def _nothing_is_nan(value: float) -> float:
    """A mean of 0 is what the harness writes when no request had a second token."""
    return math.nan if value == 0 else value


def _detail(fields: Fields) -> dict[str, Any]:
    """Means and lengths of the answered requests, where they are listed."""
    inputs, outputs = fields.numbers("input_lens"), fields.numbers("output_lens")
    ttfts, gaps = fields.numbers("ttfts"), fields.value("itls")
    if inputs is None or outputs is None or ttfts is None:
        return {}
    lists = {"input_lens": inputs, "output_lens": outputs, "ttfts": ttfts}
    if len({len(values) for values in lists.values()}) != 1:
        lengths = ", ".join(f"{name} {len(values)}" for name, values in lists.items())
        raise TraceError(f"{fields.source}: the lists of its requests differ in length ({lengths})")
    errors = fields.value("errors")
    failed = errors if isinstance(errors, list) and len(errors) == len(inputs) else [""] * len(inputs)
    answered = [place for place, error in enumerate(failed) if not error and outputs[place] > 0 and ttfts[place] > 0]
    found: dict[str, Any] = {
        "lengths": tuple((max(int(inputs[place]), 1), int(outputs[place])) for place in answered),
        "ttft_s": mean(ttfts[place] for place in answered),
    }
    if isinstance(gaps, list) and len(gaps) == len(inputs) and all(isinstance(item, list) for item in gaps):
        found["e2e_s"] = mean(
            ttfts[place] + math.fsum(Fields(fields.source, {"itls": gaps[place]}).numbers("itls") or [0.0])
            for place in answered
        )
    return found
