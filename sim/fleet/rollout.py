"""A rolling deploy: every server of a pool is replaced by one of a new version, first the new one, then the old."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import simpy

from sim.fleet.blueprint import Blueprint
from sim.fleet.going import DRAIN_CHECK_S
from sim.fleet.pool import Pool


def roll_out(pool: Pool, blueprint: Blueprint, max_surge: int) -> Generator[simpy.Event, Any, None]:
    """A process that replaces every server of ``pool`` by one of ``blueprint``, ``max_surge`` at a time."""
    clock, members = pool.roster.clock, pool.members
    pool.coming.blueprint = blueprint
    while old := [s for s in members.live() if s.version < blueprint.version]:
        fresh = [pool.succeed("deploy") for _ in range(min(max_surge, len(old)))]
        yield clock.timeout(DRAIN_CHECK_S)  # where the GPU budget has no room: until it has
        while any(s is not None and s.starting for s in fresh):
            yield clock.timeout(DRAIN_CHECK_S)
