"""``Books``: what the servers of a roster did and cost, now and at the end."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import pandas as pd

from sim.cost import committed_usd_per_hour, usd_per_gpu_hour
from sim.engine.rank_group import RankGroup
from sim.fleet.feature_rows import feature_row
from sim.fleet.prices import PriceHistory
from sim.fleet.roster import Roster
from sim.fleet.server import Server
from sim.fleet.tier_rows import tier_rows
from sim.record.result import FEATURE_COLUMNS, RANK_COLUMNS, REPLICA_COLUMNS, TIER_COLUMNS
from sim.spec import Scenario

_ROUNDING = 1e-9


class Books:
    """Reads a roster; changes nothing in it but at the end."""

    def __init__(self, roster: Roster, scenario: Scenario) -> None:
        self._roster = roster
        self._clock = roster.clock
        self._billing = scenario.fleet.billing
        self._scenario = scenario
        self._prices = PriceHistory(scenario)
        self._seen = 0
        self._readers: list[Server] = []
        """Servers that read caches and live, as far as was seen."""
        self._read_bytes = 0.0
        """What those read that live no longer."""

    def states(self) -> dict[str, int]:
        """How many servers are ready, starting, draining, dead."""
        counts = {"ready": 0, "starting": 0, "draining": 0, "dead": 0}
        for pool in self._roster.pools.values():
            for server in pool.alive:
                kind = "starting" if server.starting else server.state
                if kind in counts:
                    counts[kind] += 1
        return counts

    def usd_per_hour(self) -> float:
        """What the servers that run now cost an hour, at the prices of now and as the scenario buys: ``cost.market``, the
        discount on reserved GPUs, a commitment (paid whether or not its GPUs run, which then cost nothing more)."""
        now, each, cost = self._clock.now, {}, self._scenario.cost
        total, covered = committed_usd_per_hour(self._scenario), 0
        for pool in self._roster.pools.values():
            for server in pool.alive:
                if server.billed:
                    alike = (server.pool, server.version, server.market)
                    if alike not in each:
                        usd = server.gpus * usd_per_gpu_hour(server.gpu, server.market, cost)
                        each[alike] = usd * self._prices.factor(server, now)
                    total += each[alike]
                    if server.market == "on_demand" and server.gpu.name == self._scenario.gpu.name:
                        covered += server.gpus
        if cost.commitment is not None:
            listed = usd_per_gpu_hour(self._scenario.gpu, "on_demand", cost)
            total -= min(covered, cost.commitment.gpus) * listed
        return total

    def received_bytes(self) -> float:
        """KV caches that servers have read from others so far; what is on its way counts as far as it was looked at. It
        costs what lives and what is new, not what ever was."""
        if len(self._roster.servers) > self._seen:
            new = self._roster.servers[self._seen :]
            self._seen += len(new)
            self._readers += [server for server in new if server.role == "decode"]
        if not self._readers:
            return self._read_bytes
        self._read_bytes += sum((server.nic_in.carried_bytes for server in self._readers if server.replica.stopped), 0.0)
        self._readers = [server for server in self._readers if not server.replica.stopped]
        return self._read_bytes + sum((server.nic_in.carried_bytes for server in self._readers), 0.0)

    def close(self, end_s: float) -> pd.DataFrame:
        """``Result.replicas``: the run ends at ``end_s``, and with it what still runs."""
        return pd.DataFrame([self._row(server, end_s) for server in self._roster.servers], columns=list(REPLICA_COLUMNS))

    def ranks(self) -> pd.DataFrame | None:
        """``Result.ranks``, after ``close``."""
        rows = [row for server in self._roster.servers if len(server.engines) > 1 for row in _rank_rows(server)]
        return pd.DataFrame(rows, columns=list(RANK_COLUMNS)) if rows else None

    def tiers(self) -> pd.DataFrame | None:
        """``Result.tiers``, after ``close``."""
        rows = tier_rows(self._roster.servers)
        return pd.DataFrame(rows, columns=list(TIER_COLUMNS)) if rows else None

    def features(self) -> pd.DataFrame | None:
        """``Result.features``, after ``close``."""
        rows = [feature_row(server) for server in self._roster.servers if server.has_features]
        return pd.DataFrame(rows, columns=list(FEATURE_COLUMNS)) if rows else None

    def _row(self, server: Server, end_s: float) -> dict[str, Any]:
        server.settle(end_s)
        work, seconds = server.replica.work, server.seconds
        ranks = [engine.scheduler.books for engine in server.engines]
        start_s = end_s if server.billed_start_s is None else server.billed_start_s
        used_until_s = end_s if server.billed_stop_s is None else server.billed_stop_s
        stop_s = used_until_s if used_until_s >= end_s else self._billed_until(start_s, used_until_s)
        return {
            "pool": server.pool,
            "replica": server.name,
            "gpu": server.gpu.name,
            "gpus": server.gpus,
            "market": server.market,
            "zone": server.zone,
            "requested_s": server.requested_s,
            "ready_s": server.ready_s,
            "stopped_s": end_s if server.stopped_s is None else server.stopped_s,
            "billed_start_s": start_s,
            "billed_stop_s": stop_s,
            "busy_s": work.busy,
            "idle_s": seconds.get("idle", 0.0),
            "starting_s": seconds.get("starting", 0.0),
            "draining_s": seconds.get("draining", 0.0),
            "dead_s": seconds.get("dead", 0.0),
            "price_factor": self._prices.mean_factor(server, start_s, stop_s),
            "seq_s": work.seq_time,
            "kv_block_s": work.block_time,
            "max_num_seqs": len(ranks) * (server.engine.max_num_seqs or 0),
            "kv_blocks": sum(books.pool.usable for books in ranks),
            "engine_steps": work.steps,
            "input_tokens": work.prefill_tokens,
            "output_tokens": work.sampled_tokens,
            "cached_tokens": sum(books.prefix_hits_tokens for books in ranks),
            "recomputed_tokens": sum(books.recomputed_tokens for books in ranks),
            "wasted_tokens": server.wasted_tokens,
            "background_tokens": server.background_tokens,
            "preemptions": sum(books.preemptions for books in ranks),
            "prefix_queries_tokens": sum(books.prefix_queries_tokens for books in ranks),
            "prefix_hits_tokens": sum(books.prefix_hits_tokens for books in ranks),
            "role": server.role,
            "sent_bytes": server.nic_out.carried_bytes if server.role != "both" else 0.0,
            "received_bytes": server.nic_in.carried_bytes if server.role != "both" else 0.0,
        }

    def _billed_until(self, start_s: float, used_until_s: float) -> float:
        """The end of the bill of a machine that was handed back during the run: minimum and increment apply."""
        used_s = used_until_s - start_s
        if used_s <= 0:
            return used_until_s
        billed_s = max(used_s, self._billing.minimum_s)
        step_s = self._billing.increment_s
        if step_s:
            billed_s = math.ceil(billed_s / step_s - _ROUNDING) * step_s
        return start_s + max(billed_s, used_s)




def _rank_rows(server: Server) -> Iterator[dict[str, Any]]:
    lock_step = server.replica.lock_step if isinstance(server.replica, RankGroup) else None
    for number, engine in enumerate(server.engines):
        work = engine.work
        yield {
            "pool": server.pool,
            "replica": server.name,
            "rank": number,
            "steps": work.steps,
            "dummy_steps": lock_step.work.steps - work.steps if lock_step is not None else 0,
            "busy_s": work.busy,
            "dummy_s": lock_step.work.busy - work.busy if lock_step is not None else 0.0,
            "seq_s": work.seq_time,
            "input_tokens": work.prefill_tokens,
            "output_tokens": work.sampled_tokens,
            "preemptions": engine.scheduler.books.preemptions,
        }
