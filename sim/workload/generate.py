"""Synthetic workloads: every client draws from its own named streams, so adding one changes no other's requests."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from sim.errors import TraceError
from sim.rng import stream
from sim.spec.traffic import ClientSpec, GeneratorSpec
from sim.workload.arrivals import draw_arrivals
from sim.workload.lengths import draw_ranks, drifted, lengths_at
from sim.workload.merge import merged
from sim.workload.prefixes import with_prefixes
from sim.workload.sessions import with_sessions
from sim.workload.trace import Trace

OWN_CLIENT = ""
"""Stream name of the population that stands in the generator itself."""


def generate(spec: GeneratorSpec, seed: int) -> Trace:
    """The requests of all clients, in order of arrival.

    Raises:
        TraceError: not a single request came out.
    """
    clients = dict(spec.clients)
    if spec.arrivals is not None and spec.input_tokens is not None and spec.output_tokens is not None:
        clients[OWN_CLIENT] = ClientSpec(
            arrivals=spec.arrivals, input_tokens=spec.input_tokens, output_tokens=spec.output_tokens,
            dependence=spec.dependence, max_total_tokens=spec.max_total_tokens, profile=spec.profile, drift=spec.drift,
            flash_crowds=spec.flash_crowds, sessions=spec.sessions, prefix=spec.prefix,
        )  # fmt: skip
    parts = [generate_client(client, name, spec.duration_s, seed) for name, client in sorted(clients.items())]
    trace = merged(parts)
    if not len(trace):
        raise TraceError(f"workload.generator makes no request in duration_s={spec.duration_s}; raise rate or duration")
    return trace


def generate_client(client: ClientSpec, name: str, duration_s: float, seed: int) -> Trace:
    """The requests of one client in [0, ``duration_s``)."""

    def rng(source: str) -> np.random.Generator:
        return stream(seed, "workload", "client", name, source)

    arrival_s = draw_arrivals(client.arrivals, duration_s, rng("arrivals"), client.profile, client.flash_crowds)
    if client.sessions is not None:
        trace = with_sessions(client, client.sessions, arrival_s, duration_s, name=name, rng=rng)
    else:
        ranks = drifted(client.drift, draw_ranks(client.dependence, len(arrival_s), rng("lengths")), arrival_s)
        trace = Trace(arrival_s, lengths_at(client.input_tokens, ranks[0]), lengths_at(client.output_tokens, ranks[1]))
        trace = truncated(trace, client.max_total_tokens)
    if client.prefix is not None:
        trace = truncated(with_prefixes(client.prefix, trace, name, rng), client.max_total_tokens)
    return _labelled(trace, (("route", client.route), ("feature", client.feature), ("tenant", client.tenant)))


def truncated(trace: Trace, max_total_tokens: int | None) -> Trace:
    """Prompts cut to leave one token for the answer, then answers cut to what is left."""
    if max_total_tokens is None:
        return trace
    input_tokens = np.minimum(trace.input_tokens, max_total_tokens - 1)
    output_tokens = np.minimum(trace.output_tokens, max_total_tokens - input_tokens)
    labels = dict(trace.labels)
    if "prefix_tokens" in labels:
        labels["prefix_tokens"] = np.minimum(labels["prefix_tokens"], input_tokens)
    return Trace(trace.arrival_s, input_tokens, output_tokens, labels, trace.block_tokens, trace.provenance)


def _labelled(trace: Trace, names: Sequence[tuple[str, str]]) -> Trace:
    labels = dict(trace.labels)
    for label, value in names:
        if value:
            labels[label] = np.full(len(trace), value, dtype=object)
    return Trace(
        trace.arrival_s, trace.input_tokens, trace.output_tokens, labels, trace.block_tokens, trace.provenance
    )  # fmt: skip
