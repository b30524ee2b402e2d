"""Rows of ``Result.tiers``: what each server's tiers of KV hold and moved, and the stores that servers share."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from typing import Any

from sim.fleet.server import Server
from sim.tiers.below import Level, Moved
from sim.tiers.offloading import Offloading
from sim.tiers.tier import Tier


def tiers_of(server: Server) -> list[Offloading]:
    """Host memory for KV of each of its engines."""
    sources = [external.source for engine in server.engines if (external := engine.scheduler.books.external) is not None]
    return [source for source in sources if isinstance(source, Offloading)]


class TierSeries:
    """``TIER_SERIES`` at one look after another."""

    def __init__(self) -> None:
        self._seen: dict[Offloading, tuple[float, float]] = {}

    def look(self, servers: Iterable[Server]) -> dict[str, float]:
        """At the ready ``servers``; nothing where none has host memory for KV."""
        used = capacity = 0
        loaded = promoted = 0.0
        seen: dict[Offloading, tuple[float, float]] = {}
        for server in servers:
            plan = server.offload
            for one in tiers_of(server) if plan is not None else ():
                assert plan is not None
                used, capacity = used + one.tier.used, capacity + one.tier.capacity
                below = sum(moved.promoted for moved in one.below.moved) if one.below is not None else 0
                seen[one] = one.loaded_blocks * plan.block_bytes, below * plan.chunk_bytes
                before = self._seen.get(one, (0.0, 0.0))
                loaded, promoted = loaded + seen[one][0] - before[0], promoted + seen[one][1] - before[1]
        self._seen = seen
        if not capacity:
            return {}
        return {"kv_host_used": used / capacity, "kv_host_loaded_bytes": loaded, "kv_promoted_bytes": promoted}


def tier_rows(servers: Iterable[Server]) -> list[dict[str, Any]]:
    """All of them, the stores last."""
    rows: list[dict[str, Any]] = []
    shared: dict[Tier, list[dict[str, Any]]] = {}
    sizes: dict[Tier, float] = {}
    for server in servers:
        if server.offload is None:
            continue
        rows.append(_host_row(server))
        for level, row in _lower_rows(server):
            rows.append(row)
            if level.name == "store":
                shared.setdefault(level.tier, []).append(row)
                sizes[level.tier] = server.offload.chunk_bytes
    rows += [_store_row(tier, sizes[tier], of) for tier, of in shared.items()]
    return rows


def _host_row(server: Server) -> dict[str, Any]:
    assert server.offload is not None
    chunk, block = server.offload.chunk_bytes, server.offload.block_bytes
    sources = tiers_of(server)
    return {
        **_place(server, "host"),
        "capacity_bytes": chunk * sum(one.tier.capacity for one in sources),
        "used_bytes": chunk * sum(one.tier.used for one in sources),
        "stored_bytes": block * sum(one.stored_blocks for one in sources),
        "loaded_bytes": block * sum(one.loaded_blocks for one in sources),
        "loaded_tokens": sum(one.loaded_tokens for one in sources),
        "evicted_bytes": chunk * sum(one.tier.evicted for one in sources),
        "refused_stores": sum(one.tier.refused for one in sources),
        "storing_s": math.fsum(one.link.storing for one in sources),
        "loading_s": math.fsum(one.link.loading for one in sources),
    }


def _lower_rows(server: Server) -> Iterator[tuple[Level, dict[str, Any]]]:
    """Of a server's ranks together; what only the tier itself knows is in the row of a store."""
    assert server.offload is not None
    belows = [one.below for one in tiers_of(server) if one.below is not None]
    if not belows:
        return
    chunk, tokens = server.offload.chunk_bytes, server.offload.chunk_blocks * server.engine.block_size
    for number, level in enumerate(belows[0].levels):
        moved = [below.moved[number] for below in belows]
        row = {**_place(server, level.name), **_moved(moved, chunk, tokens)}
        row["storing_s"] = row["stored_bytes"] / min(link.bytes_per_s for link in level.write)
        row["loading_s"] = row["loaded_bytes"] / min(link.bytes_per_s for link in level.read)
        if level.name != "store":
            row |= _held([below.levels[number].tier for below in belows], chunk)
        yield level, row


def _store_row(tier: Tier, chunk: float, of: list[dict[str, Any]]) -> dict[str, Any]:
    names = ("stored_bytes", "loaded_bytes", "loaded_tokens", "from_others_tokens", "lost_bytes", "storing_s", "loading_s")
    sums = {name: sum(row[name] for row in of) for name in names}
    return {**_place(None, "store"), **_held([tier], chunk), **sums}


def _place(server: Server | None, tier: str) -> dict[str, Any]:
    nothing: dict[str, Any] = {"capacity_bytes": 0.0, "used_bytes": 0.0, "evicted_bytes": 0.0, "refused_stores": 0}
    where = {"pool": server.pool if server else "", "replica": server.name if server else "", "tier": tier}
    return {**where, **nothing, "from_others_tokens": 0, "lost_bytes": 0.0}


def _held(tiers: list[Tier], chunk: float) -> dict[str, Any]:
    return {
        "capacity_bytes": chunk * sum(tier.capacity for tier in tiers),
        "used_bytes": chunk * sum(tier.used for tier in tiers),
        "evicted_bytes": chunk * sum(tier.evicted for tier in tiers),
        "refused_stores": sum(tier.refused for tier in tiers),
    }


def _moved(moved: list[Moved], chunk: float, tokens: int) -> dict[str, Any]:
    return {
        "stored_bytes": chunk * sum(one.stored for one in moved),
        "loaded_bytes": chunk * sum(one.promoted for one in moved),
        "loaded_tokens": tokens * sum(one.promoted for one in moved),
        "from_others_tokens": tokens * sum(one.from_others for one in moved),
        "lost_bytes": chunk * sum(one.lost for one in moved),
    }
