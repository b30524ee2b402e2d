"""``ServerFactory``: builds servers from blueprints and enters them into the roster."""

from __future__ import annotations

from sim.engine.gaps import GapHistogram
from sim.engine.listener import EngineListener, StepListener
from sim.engine.noise import StepNoise
from sim.engine.policies import make_scheduler
from sim.engine.replica import Replica
from sim.fleet.blueprint import Blueprint
from sim.fleet.machine import Machine
from sim.fleet.roster import Roster
from sim.fleet.server import Server
from sim.spec import Scenario


class ServerFactory:
    """Servers whose engines tell ``listener`` of their requests and ``steps`` of every step (they step every token then);
    ``gaps`` collects the gaps between tokens."""

    def __init__(
        self,
        roster: Roster,
        scenario: Scenario,
        listener: EngineListener,
        gaps: GapHistogram,
        steps: StepListener | None = None,
    ) -> None:
        self.roster = roster
        self.listener = listener
        self._seed = scenario.seed
        self._check_invariants = scenario.check_invariants
        self._gaps = gaps
        self._steps = steps

    def build(self, blueprint: Blueprint, machine: Machine) -> Server:
        """A server of ``blueprint`` on ``machine``, its engine idle, in the roster from now on."""
        roster = self.roster
        clock = roster.clock
        index = len(roster.servers)
        name = f"{blueprint.pool}-{index}"
        engine = blueprint.engine
        scheduler = make_scheduler(
            engine, blueprint.blocks, name, lambda: clock.now, self._check_invariants, blueprint.groups
        )
        noise = StepNoise(engine, self._seed, name) if engine.noisy else None
        if self._steps is not None or noise is not None:
            scheduler.skip_decode = False
        replica = Replica(
            clock, scheduler, blueprint.step_time, engine.async_scheduling, self.listener, self._steps,
            gaps=self._gaps, name=name, noise=noise,
        )  # fmt: skip
        server = Server(
            index, blueprint.pool, roster.pools[blueprint.pool].index, replica, engine, blueprint.gpu, machine,
            blueprint.blocks,
        )  # fmt: skip
        server.version = blueprint.version
        roster.add(server)
        return server
