"""What servers' own ``/metrics`` say: vLLM, SGLang, TGI and Dynamo's front end, by one table of names.

Means are sum / count of each histogram: lengths from the histogram of the requests' own prompt and answer tokens (the
counters of all tokens hold unfinished requests too), TPOT from the histogram of gaps between tokens. A single dump is
since the server started; its load is what the gauges say at that moment. Requests that wait in the gauge although the
mean TTFT leaves no room for such a wait came just then: by Little's law, running = rate x (E2E - wait) and all in
flight = rate x E2E, so in flight is at most running x E2E / (E2E - wait), with TTFT for a wait that has no histogram.

Two dumps of one server are a difference: what happened in between, with the mean in flight = seconds of E2E that ended
in it / its length (Little's law). Counters count a request when it ends, so long requests at the edges blur it.

Several engines in one dump (data-parallel ranks, instances of a query) are one mean engine: its load is their share.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from sim.errors import TraceError
from sim.measured.aggregate import Aggregate, Load
from sim.measured.prometheus import Samples


@dataclass(frozen=True)
class Server:
    """The names under which one server reports; each entry is tried in turn."""

    name: str
    prefix: str
    running: tuple[str, ...]
    waiting: tuple[str, ...]
    finished: tuple[str, ...]
    """Counters or histograms whose count is the finished requests."""
    input_tokens: tuple[str, ...]
    output_tokens: tuple[str, ...]
    input_total: tuple[str, ...]
    output_total: tuple[str, ...]
    ttft: tuple[str, ...]
    gap: tuple[str, ...]
    e2e: tuple[str, ...]
    queue: tuple[str, ...]
    totals_at_end: bool = False
    """The counters of all tokens rise when a request ends, not with its tokens."""


SERVERS = (
    Server(
        "vLLM /metrics", "vllm:", ("vllm:num_requests_running",), ("vllm:num_requests_waiting",),
        ("vllm:request_success_total", "vllm:e2e_request_latency_seconds_count"), ("vllm:request_prompt_tokens",),
        ("vllm:request_generation_tokens",), ("vllm:prompt_tokens_total",), ("vllm:generation_tokens_total",),
        ("vllm:time_to_first_token_seconds",),
        ("vllm:inter_token_latency_seconds", "vllm:time_per_output_token_seconds",
         "vllm:request_time_per_output_token_seconds"),
        ("vllm:e2e_request_latency_seconds",), ("vllm:request_queue_time_seconds",),
    ),
    Server(
        "SGLang /metrics", "sglang:", ("sglang:num_running_reqs",), ("sglang:num_queue_reqs",),
        ("sglang:num_requests_total", "sglang:e2e_request_latency_seconds_count"), ("sglang:prompt_tokens_histogram",),
        ("sglang:generation_tokens_histogram",), ("sglang:prompt_tokens_total",), ("sglang:generation_tokens_total",),
        ("sglang:time_to_first_token_seconds",),
        ("sglang:inter_token_latency_seconds", "sglang:time_per_output_token_seconds"),
        ("sglang:e2e_request_latency_seconds",), ("sglang:queue_time_seconds",), totals_at_end=True,
    ),
    Server(
        "Dynamo /metrics", "dynamo_frontend_", ("dynamo_frontend_inflight_requests",), (),
        ("dynamo_frontend_request_duration_seconds_count", "dynamo_frontend_requests_total"),
        ("dynamo_frontend_input_sequence_tokens",), ("dynamo_frontend_output_sequence_tokens",), (),
        ("dynamo_frontend_output_tokens_total",), ("dynamo_frontend_time_to_first_token_seconds",),
        ("dynamo_frontend_inter_token_latency_seconds",), ("dynamo_frontend_request_duration_seconds",), (),
    ),
    Server(
        "TGI /metrics", "tgi_", ("tgi_batch_current_size",), ("tgi_queue_size",),
        ("tgi_request_duration_count", "tgi_request_success"), ("tgi_request_input_length",),
        ("tgi_request_generated_tokens",), (), (), (), ("tgi_request_mean_time_per_token_duration",),
        ("tgi_request_duration",), ("tgi_request_queue_duration",),
    ),
)  # fmt: skip
"""Dynamo before vLLM: its workers export both, and the front end is what the client sees."""


_ENGINE = ("instance", "pod", "engine", "dp_rank")


def server_of(samples: Samples) -> Server | None:
    """Whose names these are."""
    order = sorted(SERVERS, key=lambda server: server.prefix != "dynamo_frontend_")
    return next((server for server in order if any(name.startswith(server.prefix) for name in samples.values)), None)


def names_a_server(text: str) -> bool:
    """Whether ``text`` holds a sample of a known server."""
    return any(line.startswith(server.prefix) for line in text.splitlines() for server in SERVERS)


def one_dump(samples: Samples) -> Aggregate:
    """The means since the server started, at the load of the moment.

    Raises:
        TraceError: nothing was answered yet, nothing is running, or no server's names are there.
    """
    server = known_server(samples)
    requests = _finished(server, samples)
    running, waiting = samples.total(*server.running), samples.total(*server.waiting)
    if not requests > 0:
        raise TraceError(
            f"{samples.source}: {server.name} of a server that has answered no request yet; take the dump while it serves "
            "its usual load, or one before and one after a run"
        )
    if not (running > 0 or waiting > 0):
        raise TraceError(
            f"{samples.source}: {server.name} of {requests:,.0f} answered requests with none running: one dump does not say "
            "over which time they came, so not how many were in flight; give a dump from before the run too (both in one "
            "folder), or say --concurrency N"
        )
    return _point(server, samples, requests, _load_now(server, samples, running, waiting), ())


def at_concurrency(samples: Samples, in_flight: float) -> Aggregate:
    """The means since the server started, at a number in flight that the user knows."""
    server = known_server(samples)
    requests = _finished(server, samples)
    if not requests > 0:
        raise TraceError(f"{samples.source}: {server.name} of a server that has answered no request yet")
    return _point(server, samples, requests, Load(in_flight=in_flight), ())


def difference(
    earlier: Samples, later: Samples, interval_s: float, *, how_known: str = "", in_flight: float | None = None
) -> Aggregate:
    """What the server did between two dumps, ``interval_s`` apart (NaN: not known, then the gauges must tell the load
    unless the user knows how many were ``in_flight``). ``how_known`` follows the interval where it is shown.

    Raises:
        TraceError: nothing was answered in between, or the server was started again.
    """
    server = known_server(later)
    between = later.since(earlier, _cumulative(server, earlier, later))
    requests = _finished(server, between)
    if not requests > 0:
        raise TraceError(f"{later.source}: {server.name} answered no request since {earlier.source}")
    if in_flight is not None:
        return _point(server, between, requests, Load(in_flight=in_flight), ())
    ended_s = between.mean(*server.e2e) * requests
    if interval_s > 0:
        in_flight = ended_s / interval_s
        over = f"{interval_s:.4g} s{how_known}"
        load = Load(in_flight=in_flight, stated=f"{in_flight:.4g} requests in flight over {over} (Little's law)")
        if in_flight > requests:
            raise TraceError(
                f"{between.source}: {requests:,.0f} requests of {ended_s / requests:.4g} s each do not fit into "
                f"{interval_s:.4g} s; the dumps' times are not those of the run: say --interval-s"
            )
        return _point(server, between, requests, load, ())
    loads = [
        _load_now(server, between, now.total(*server.running), now.total(*server.waiting)) for now in (earlier, later)
    ]  # fmt: skip
    busy = [load.in_flight for load in loads if load.in_flight]
    if not busy:
        raise TraceError(
            f"{between.source}: neither dump has a running request nor a time, so the number in flight is not known; say "
            "--interval-s SECONDS between the two, or --concurrency N"
        )
    in_flight = sum(busy) / len(busy)
    return _point(server, between, requests, Load(in_flight=in_flight, stated=f"{in_flight:.4g} in flight when dumped"), ())


def same_server(earlier: Samples, later: Samples) -> bool:
    """Whether ``later`` can be a later dump of the server of ``earlier``: same names, same start, no counter fell."""
    server = server_of(later)
    if server is None or server != server_of(earlier):
        return False
    starts = [samples.total("process_start_time_seconds") for samples in (earlier, later)]
    if not math.isnan(sum(starts)) and starts[0] != starts[1]:
        return False
    try:
        later.since(earlier, _cumulative(server, earlier, later))
    except TraceError:
        return False
    return True


def in_order(dumps: Sequence[Samples]) -> list[Samples]:
    """Dumps of one server by the work done, which only grows."""
    return sorted(dumps, key=lambda samples: (_or_zero(_finished(known_server(samples), samples)), samples.at_s))


def is_busy(samples: Samples) -> bool:
    """Whether requests were running or waiting when the dump was taken."""
    server = known_server(samples)
    return samples.total(*server.running) > 0 or samples.total(*server.waiting) > 0


def nothing_between(earlier: Samples, later: Samples) -> bool:
    """Whether two dumps of one server have the same finished requests."""
    return _finished(known_server(earlier), earlier) == _finished(known_server(later), later)


def known_server(samples: Samples) -> Server:
    """Whose dump this is.

    Raises:
        TraceError: nobody's that is known, or several models' together.
    """
    server = server_of(samples)
    models = samples.labels_of("model_name", *_counts(server)) | samples.labels_of("model", *_counts(server))
    if len(models) > 1:
        raise TraceError(
            f"{samples.source}: holds metrics of {len(models)} models ({', '.join(sorted(models))[:200]}), whose means say "
            "nothing together; dump one server at a time"
        )
    if server is None:
        known = ", ".join(server.prefix for server in SERVERS)
        raise TraceError(f"{samples.source}: holds no metrics of a known server (names beginning {known})")
    return server


def _counts(server: Server | None) -> tuple[str, ...]:
    return () if server is None else tuple(f"{name}_count" for name in (*server.e2e, *server.ttft))


def _finished(server: Server, samples: Samples) -> float:
    counts = [samples.total(f"{name}_count") for name in server.e2e]
    return counts[0] if counts and not math.isnan(counts[0]) else samples.total(*server.finished)


def gives_a_mean(name: str) -> bool:
    """Whether lengths or times of requests are computed from the counter ``name``."""
    for server in SERVERS:
        histograms = (*server.input_tokens, *server.output_tokens, *server.ttft, *server.gap, *server.e2e, *server.queue)
        if name.removesuffix("_sum") in histograms or name.removesuffix("_count") in histograms:
            return True
        if name in server.input_total or name in server.output_total:
            return True
    return False


def _engines(server: Server, samples: Samples) -> int:
    """Engines that answered requests, or that run them, by the labels that tell one from another."""
    return max(1, *(samples.apart(_ENGINE, name) for name in (*_counts(server), *server.running)))


def _cumulative(server: Server, *dumps: Samples) -> set[str]:
    return {name for dump in dumps for name in dump.values if _is_cumulative(server, name)}


def _is_cumulative(server: Server, name: str) -> bool:
    return name.startswith(server.prefix) and (
        name.endswith(("_sum", "_count", "_bucket", "_total")) or name in server.finished
    )  # fmt: skip


def _or_zero(value: float) -> float:
    return 0.0 if math.isnan(value) else value


def _load_now(server: Server, samples: Samples, running: float, waiting: float) -> Load:
    running, waiting = _or_zero(running), _or_zero(waiting)
    in_flight = running + waiting
    gauges = f"{running:.4g} running and {waiting:.4g} waiting requests when dumped"
    e2e_s, wait_s = samples.mean(*server.e2e), samples.mean(*server.queue)
    wait_s = samples.mean(*server.ttft) if math.isnan(wait_s) else wait_s
    if waiting > 0 and running > 0 and 0 <= wait_s < e2e_s:
        steady = running * e2e_s / (e2e_s - wait_s)
        if steady < in_flight:
            return Load(in_flight=steady, stated=f"{gauges}: {steady:.3g} in flight by Little's law")
    return Load(in_flight=in_flight, stated=gauges)


def _point(server: Server, samples: Samples, requests: float, load: Load, notes: tuple[str, ...]) -> Aggregate:
    started = samples.total(f"{server.ttft[0]}_count") if server.ttft else math.nan
    begun = requests if math.isnan(started) or server.totals_at_end else max(requests, started)
    # counters of all tokens also hold those of requests that are not done: over the requests that have begun
    inputs, outputs = samples.mean(*server.input_tokens), samples.mean(*server.output_tokens)
    if math.isnan(inputs):
        inputs = samples.total(*server.input_total) / begun
    if math.isnan(outputs):
        outputs = samples.total(*server.output_total) / begun
    engines = _engines(server, samples)
    if engines > 1 and load.in_flight is not None:
        share = load.in_flight / engines
        load = replace(load, in_flight=share, stated=f"{load.words}; {engines} engines, so {share:.4g} each")
    if not server.ttft:
        notes = (*notes, "TTFT is not reported")
    return Aggregate(
        samples.source, server.name, int(requests), load, inputs, outputs, ttft_s=samples.mean(*server.ttft),
        tpot_s=samples.mean(*server.gap), e2e_s=samples.mean(*server.e2e), notes=notes,
    )  # fmt: skip
