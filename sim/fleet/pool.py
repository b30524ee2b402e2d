"""``Pool``: the servers of one kind. What is asked for and what exists are two things: ``resize`` states how many are
wanted, ``heal`` asks for what is missing and retires what is too much."""

from __future__ import annotations

from sim.engine.clock import REPLICA, Moment
from sim.fleet.coming import Coming
from sim.fleet.going import Going
from sim.fleet.roster import LifeListener
from sim.fleet.server import Server
from sim.spec import Market, PoolSpec


class Pool(LifeListener):
    """Keeps a pool at the size that is wanted; one that is ``scaled`` within its limits."""

    def __init__(self, spec: PoolSpec, coming: Coming, going: Going, *, scaled: bool) -> None:
        self.spec = spec
        self._scaled = scaled
        self.coming = coming
        self.going = going
        self.roster = coming.roster
        self.placement = coming.placement
        self.name = coming.blueprint.pool
        self.members = coming.roster.pools[self.name]

    def begin(self) -> None:
        """The servers of the start: all ready, warm ones asleep beside them."""
        for _ in range(self.members.wanted):
            self.coming.there_already()
        for _ in range(self.spec.warm_replicas):
            self.coming.there_already(asleep=True)

    def resize(self, wanted: int, cause: str) -> None:
        """Bring the pool to ``wanted`` servers, within its limits where an autoscaler scales it."""
        members = self.members
        wanted = self.spec.within_limits(wanted, scaled=self._scaled)
        if wanted != members.wanted:
            self.roster.event("scale", cause, pool=self.name, replicas=wanted, before=members.wanted)
            members.wanted = wanted
        self.heal(cause)

    def heal(self, cause: str) -> None:
        """Launch what is missing, or retire what is too much."""
        members = self.members
        live = [server for server in members.live() if server not in members.successors]
        for _ in range(members.wanted - len(live)):
            asleep = next((s for s in members.alive if s.state == "asleep"), None)
            if asleep is not None:
                self.coming.wake(asleep)
            elif self.coming.launch(cause) is None:
                break
        for server in sorted(live, key=self._retire_key)[: max(0, len(live) - members.wanted)]:
            self.going.retire(server, cause)

    def _retire_key(self, server: Server) -> tuple[int, bool, bool, int, int]:
        """Who goes first: an old version, what is not up yet, on demand in a spot pool, the least loaded, the newest."""
        placement = self.placement
        surplus = placement.market == "spot" and server.market == "on_demand" and not placement.on_demand_base
        return (server.version, not server.starting, not surplus, server.tokens_in_flight, -server.index)

    def succeed(self, cause: str, where: tuple[Market, str] | None = None) -> Server | None:
        """Launch a server that takes another's place once it is ready."""
        server = self.coming.launch(cause, where)
        if server is not None:
            self.members.successors.add(server)
        return server

    # -- moments of a server's life ------------------------------------------------------------------------------------

    def became_ready(self, server: Server) -> None:
        """See ``LifeListener``."""
        if server.pool == self.name:
            self.heal("more than wanted")

    def gone(self, server: Server) -> None:
        """See ``LifeListener``: what is missing comes in its place, and in whosever place what the budget refused."""
        if server.pool == self.name or self.coming.refused:
            self.roster.clock.at(self.roster.clock.now, REPLICA, self._fill)

    def _fill(self, _: Moment) -> None:
        """Once it is known whether the server that has gone is repaired, restarted or missed by nobody."""
        if len(self.members.live()) < self.members.wanted and self.coming.has_room():
            self.heal("a place is free")

    def given_up(self, server: Server, cause: str, repair: str) -> None:
        """See ``LifeListener``."""
        if server.pool != self.name:
            return
        if repair == "restart" and not self.placement.dark(server.zone):
            self.coming.restart(server, cause)
        elif repair in ("restart", "replace"):
            self.heal(cause)
        else:
            self.members.wanted = min(self.members.wanted, len(self.members.live()))
