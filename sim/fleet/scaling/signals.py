"""What an autoscaler may see: a pool's state as its metrics say, at the moment of a scrape."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from sim.fleet.endpoints import Demand
from sim.fleet.server import Server
from sim.spec.autoscaler import Metric


class Latencies(NamedTuple):
    """Means over the requests that engines finished since the scrape before; NaN where there were none."""

    requests: int
    input_tokens: float
    output_tokens: float
    ttft_s: float
    """In the engine: from its submission to the first token."""
    itl_s: float
    """A gap between tokens."""
    e2e_s: float


class FleetWindow(NamedTuple):
    """A pool at ``time_s``. Sums are over its ready replicas; what waits at the gateway for it counts as in flight."""

    time_s: float
    replicas: int
    """What the autoscaler asked for last (at first: the pool's size), headroom not counted."""
    ready: int
    tokens_in_flight: float
    """Contexts and waiting prompts."""
    requests_in_flight: float
    waiting: float
    """Requests, in engines and at the gateway."""
    waiting_tokens: float
    """Their prompt tokens."""
    kv_occupancy: float
    """Summed over replicas: the share of blocks in use of each; prompts at the gateway count as what they will fill."""
    arrivals_per_s: float
    """Attempts that came for the pool since the scrape before, those that wait at the gateway among them."""
    latencies: Latencies = Latencies(0, float("nan"), float("nan"), float("nan"), float("nan"), float("nan"))

    def total(self, metric: Metric, tokens_per_s: float = 1.0) -> float:
        """The pool's sum of ``metric``; divided by a target per replica it is a number of replicas."""
        match metric:
            case "tokens_in_flight":
                return self.tokens_in_flight
            case "requests_in_flight":
                return self.requests_in_flight
            case "qps":
                return self.arrivals_per_s
            case "queue_length":
                return self.waiting
            case "kv_occupancy":
                return self.kv_occupancy
            case "backlog_s":
                return self.waiting_tokens / tokens_per_s


def read(
    time_s: float,
    servers: Sequence[Server],
    replicas: int,
    kv_tokens: int,
    demand: Demand,
    arrivals_per_s: float,
    latencies: Latencies,
) -> FleetWindow:
    """Read ``servers``, of ``kv_tokens`` each, now; ``demand`` waits at the gateway for them."""
    tokens, requests = demand.waiting_tokens, demand.waiting_requests
    waiting, waiting_tokens = demand.waiting_requests, demand.waiting_tokens
    occupancy = demand.waiting_tokens / kv_tokens
    for server in servers:
        view = server.replica.view()
        tokens += view.context_tokens + view.waiting_tokens
        requests += max(view.running + view.waiting - server.background, 0)
        waiting += view.waiting
        waiting_tokens += view.waiting_tokens
        occupancy += view.used_blocks / view.usable_blocks
    return FleetWindow(
        time_s, replicas, len(servers), tokens, requests, waiting, waiting_tokens, occupancy, arrivals_per_s, latencies
    )
