"""Rows of ``Result.features``: what speculation and LoRA adapters did on each server, at the end and as the run goes."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

from sim.engine.adapters import Adapters
from sim.engine.drafts import Drafts
from sim.fleet.server import Server


class FeatureSeries:
    """``FEATURE_SERIES`` at one look after another."""

    def __init__(self) -> None:
        self._drafts: dict[Drafts, tuple[int, int, int]] = {}
        self._adapters: dict[Adapters, tuple[int, float]] = {}

    def look(self, servers: Iterable[Server], adapters_running: int) -> dict[str, float]:
        """At the ready ``servers``, on which so many adapters run."""
        drafts: dict[Drafts, tuple[int, int, int]] = {}
        adapters: dict[Adapters, tuple[int, float]] = {}
        verified = accepted = drafted = loads = 0
        waited = 0.0
        for server in servers:
            for engine in server.engines:
                books = engine.scheduler.books
                if books.drafts is not None:
                    now = drafts[books.drafts] = books.drafts.verified, books.drafts.accepted, books.drafts.drafted
                    before = self._drafts.get(books.drafts, (0, 0, 0))
                    verified, accepted = verified + now[0] - before[0], accepted + now[1] - before[1]
                    drafted += now[2] - before[2]
                if books.adapters is not None:
                    done = adapters[books.adapters] = books.adapters.slot_loads, books.adapters.stalled
                    last = self._adapters.get(books.adapters, (0, 0.0))
                    loads, waited = loads + done[0] - last[0], waited + done[1] - last[1]
        self._drafts, self._adapters = drafts, adapters
        found: dict[str, float] = {}
        if drafts:
            found["acceptance_length"] = 1.0 + accepted / verified if verified else math.nan
            found["drafted_tokens"] = float(drafted)
        if adapters:
            found["adapters_running"] = float(adapters_running)
            found["adapter_loads"], found["adapter_wait_s"] = float(loads), waited
        return found


def feature_row(server: Server) -> dict[str, Any]:
    """What they did on ``server``, in all."""
    all_books = [engine.scheduler.books for engine in server.engines]
    drafts = [books.drafts for books in all_books if books.drafts is not None]
    adapters = [books.adapters for books in all_books if books.adapters is not None]
    return {
        "pool": server.pool,
        "replica": server.name,
        "verifications": sum(one.verified for one in drafts),
        "drafted_tokens": sum(one.drafted for one in drafts),
        "accepted_tokens": sum(one.accepted for one in drafts),
        "drafting_s": sum(one.drafting_s for one in drafts),
        "adapters": len(set().union(*(one.served for one in adapters))),
        "adapter_slot_loads": sum(one.slot_loads for one in adapters),
        "adapter_disk_loads": sum(one.disk_loads for one in adapters),
        "adapter_wait_s": sum(one.stalled for one in adapters),
    }
