"""A rolling deploy: every server of a pool is replaced by one of a new version.

At any time at most ``wanted + max_surge`` servers are there, and at least ``wanted - max_unavailable`` are ready: new ones
come beside the old as far as the surge and the GPU budget allow, old ones go as far as may be missing. A deploy that can do
neither is stuck, says so once (``deploy_stuck``) and goes on when it can. Warm replicas are of the new version too: the old
ones are handed back at once, and their successors come last, once there are GPUs for them.

Source: Kubernetes' Deployment, strategy RollingUpdate (kubernetes/kubernetes pkg/controller/deployment/rolling.go), read
2026-11-26; its defaults of 25 % each are replaced by one more and none missing, because a replica here is a large part of a
fleet. Left out: progressDeadlineSeconds (a stuck deploy is told at once) and rollback.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import simpy

from sim.fleet.blueprint import Blueprint
from sim.fleet.going import DRAIN_CHECK_S
from sim.fleet.pool import Pool
from sim.fleet.server import Server
from sim.spec.timeline import Deploy

_STUCK_CHECK_S = 15.0


class Rollout:
    """One deploy of one pool."""

    def __init__(self, pool: Pool, blueprint: Blueprint, change: Deploy) -> None:
        self._pool = pool
        self._members = pool.members
        self._blueprint = blueprint
        self._change = change
        pool.coming.blueprint = blueprint

    def run(self) -> Generator[simpy.Event, Any, None]:
        """The process of the deploy."""
        clock, roster, told = self._pool.roster.clock, self._pool.roster, False
        began_s = clock.now
        for server in [server for server in self._members.alive if server.state == "asleep"]:
            self._pool.going.bury(server, "deploy")
        while self._unfinished():
            old = [server for server in self._members.live() if server.version < self._blueprint.version]
            self._bring(len(old))
            self._let_go(old)
            moving = any(s.starting or s.state in ("draining", "dead") for s in self._members.alive)
            if not moving and not told:
                told = True
                roster.event(
                    "deploy_stuck", "no room for one more, and none may be missing", pool=self._pool.name,
                    version=self._blueprint.version, replicas_left=len(old), gpus_needed=self._blueprint.gpus,
                )  # fmt: skip
            yield clock.timeout(DRAIN_CHECK_S if moving else _STUCK_CHECK_S)
        roster.event(
            "deploy_done", "every replica is new", pool=self._pool.name, version=self._blueprint.version,
            after_s=clock.now - began_s,
        )  # fmt: skip
        yield from self._bring_warm()

    def _bring_warm(self) -> Generator[simpy.Event, Any, None]:
        """Warm replicas of the new version, each once there is room for it and until the next deploy takes over."""
        missing = self._pool.spec.warm_replicas - sum(server.state == "asleep" for server in self._members.alive)
        while missing > 0 and self._pool.coming.blueprint is self._blueprint:
            if self._pool.coming.has_room():
                self._pool.succeed("deploy")  # once it is ready one is too many, and goes to sleep
                missing -= 1
            else:
                yield self._pool.roster.clock.timeout(_STUCK_CHECK_S)

    def _unfinished(self) -> bool:
        """Kubernetes calls a deployment complete once all its new replicas are available."""
        members = self._members
        ready = sum(server.state == "ready" for server in members.live())
        return any(s.version < self._blueprint.version for s in members.alive) or ready < members.wanted

    def _bring(self, old: int) -> None:
        """New servers beside the old ones."""
        members, coming = self._members, self._pool.coming
        new = sum(server.version == self._blueprint.version for server in members.live())
        beside = len(members.live()) - members.wanted
        for _ in range(min(self._change.max_surge - beside, members.wanted - new, old)):
            if not coming.has_room():
                return
            self._pool.succeed("deploy")

    def _let_go(self, old: list[Server]) -> None:
        """Old servers whose place new ones take."""
        members = self._members
        ready = sum(server.state == "ready" for server in members.live())
        spare = ready - (members.wanted - self._change.max_unavailable)
        going = sorted((server for server in old if server.state == "ready"), key=lambda s: (s.tokens_in_flight, s.index))
        if self._change.max_unavailable:
            for server in going[: max(0, spare)]:
                self._pool.going.retire(server, "deploy")
                if members.successors:  # who was coming beside it comes in its place
                    members.successors.discard(min(members.successors, key=lambda s: s.index))
            if self._pool.coming.has_room():
                self._pool.heal("deploy")
