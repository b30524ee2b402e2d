"""What an autoscaler may see: a pool's state as its metrics say, at the moment of a scrape."""

from __future__ import annotations

from typing import NamedTuple

from sim.fleet.endpoints import Demand
from sim.fleet.server import Server
from sim.spec.autoscaler import Metric


class FleetWindow(NamedTuple):
    """A pool at ``time_s``. Sums are over its ready replicas; what waits at the gateway counts as in flight."""

    time_s: float
    replicas: int
    """Starting and ready."""
    ready: int
    tokens_in_flight: float
    requests_in_flight: float
    waiting: float
    waiting_tokens: float
    kv_occupancy: float
    """Summed over replicas: the share of blocks in use of each."""
    arrivals_per_s: float
    """At the gateway, since the scrape before."""

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
    time_s: float, servers: list[Server], replicas: int, arrivals_per_s: float, demand: Demand
) -> FleetWindow:
    """Read ``servers`` (the pool's ready ones) now; ``demand`` waits at the gateway for them."""
    tokens = requests = waiting = waiting_tokens = 0
    occupancy = 0.0
    for server in servers:
        view = server.replica.view()
        tokens += view.context_tokens + view.waiting_tokens
        requests += max(view.running + view.waiting - server.background, 0)
        waiting += view.waiting
        waiting_tokens += view.waiting_tokens
        occupancy += view.used_blocks / view.usable_blocks
    return FleetWindow(
        time_s, replicas, len(servers), tokens + demand.waiting_tokens, requests + demand.waiting_requests,
        waiting + demand.waiting_requests, waiting_tokens + demand.waiting_tokens, occupancy, arrivals_per_s,
    )  # fmt: skip
