"""``ServerFactory``: builds servers from blueprints and enters them into the roster."""

from __future__ import annotations

from sim.engine.cadence import Cadence, RankCadence
from sim.engine.gaps import GapHistogram
from sim.engine.kv_source import KvSource
from sim.engine.listener import EngineListener, StepListener
from sim.engine.lock_step import LockStep
from sim.engine.noise import StepNoise
from sim.engine.policies import make_scheduler
from sim.engine.rank_group import RankGroup
from sim.engine.replica import Replica
from sim.errors import ConfigError
from sim.fleet.blueprint import Blueprint
from sim.fleet.kv_tiers import KvTiers
from sim.fleet.machine import Machine
from sim.fleet.roster import Roster
from sim.fleet.server import Server
from sim.links.transfers import Link
from sim.perf.rank_speculation import RankTimes
from sim.spec import Scenario
from sim.tiers.offloading import Offloading


class ServerFactory:
    """Servers whose engines tell ``listener`` of their requests and ``steps`` of every step (they step every token then);
    ``gaps`` collects the gaps between tokens; ``handover`` is where engines of pools with a role get KV caches from, and who
    keeps them pinned."""

    def __init__(
        self,
        roster: Roster,
        scenario: Scenario,
        listener: EngineListener,
        gaps: GapHistogram,
        steps: StepListener | None = None,
        handover: KvSource | None = None,
    ) -> None:
        self.roster = roster
        self.listener = listener
        self._seed = scenario.seed
        self._check_invariants = scenario.check_invariants
        self._gaps = gaps
        self._steps = steps
        self._handover = handover
        self._wires = scenario.fleet.kv_transfer
        self._kv_tiers = KvTiers(roster.clock, scenario)

    def build(self, blueprint: Blueprint, machine: Machine) -> Server:
        """A server of ``blueprint`` on ``machine``, its engine idle, in the roster from now on."""
        roster = self.roster
        index = len(roster.servers)
        name = f"{blueprint.pool}-{index}"
        offloading = self._kv_tiers.of_server(blueprint, machine, name)
        if blueprint.engine.data_parallel_size == 1:
            replica: Replica | RankGroup = self._engine(blueprint, name, offloading[0])
        else:
            replica = self._ranks(blueprint, name, offloading)
        pool_index = roster.pools[blueprint.pool].index
        server = Server(
            index, blueprint.pool, pool_index, replica, blueprint.engine, blueprint.gpu, machine, blueprint.blocks,
            blueprint.offload,
        )  # fmt: skip
        server.version = blueprint.version
        if self._handover is not None and blueprint.role != "both":
            self._wire(server, blueprint)
        roster.add(server)
        return server

    def _wire(self, server: Server, blueprint: Blueprint) -> None:
        """``server`` hands KV caches over, or takes them."""
        server.role = blueprint.role
        server.kv_token_bytes, server.kv_layers = blueprint.kv_token_bytes, blueprint.model.layer_count
        server.heartbeats = blueprint.engine.kv_connector.heartbeats
        bytes_per_s = self._wires.nic_gb_per_s * 1e9 * self._wires.nics_per_gpu * server.gpus
        server.nic_in, server.nic_out = Link(f"{server.name} in", bytes_per_s), Link(f"{server.name} out", bytes_per_s)

    def _engine(
        self, blueprint: Blueprint, name: str, offloading: Offloading | None, cadence: Cadence | None = None,
        rounds: RankTimes | None = None, adapted: RankTimes | None = None,
    ) -> Replica:  # fmt: skip
        """One engine; ``cadence`` as ``Scheduler`` has it. Where it steps with other ranks: the times of ``rounds``, and of
        those with ``adapted`` requests."""
        clock, engine = self.roster.clock, blueprint.engine
        source: KvSource | None = offloading
        if self._handover is not None and blueprint.role != "both":
            source = self._handover
            if offloading is not None:
                raise ConfigError(
                    f"{engine.host_memory_words}: host memory behind the cache of a {blueprint.role} pool is not modelled"
                )
        scheduler = make_scheduler(
            engine, blueprint.blocks, name, lambda: clock.now, self._check_invariants, blueprint.groups, cadence,
            blueprint.drafts(self._seed, rounds, adapted), blueprint.adapters(), source,
        )  # fmt: skip
        noise = StepNoise(engine, self._seed, name) if engine.noisy else None
        if self._steps is not None or noise is not None:
            scheduler.skip_decode = False
        replica = Replica(
            clock, scheduler, blueprint.step_time, engine.async_scheduling, self.listener, self._steps,
            gaps=self._gaps, name=name, noise=noise,
        )  # fmt: skip
        if offloading is not None:
            offloading.attach(replica)
        return replica

    def _ranks(self, blueprint: Blueprint, name: str, offloading: list[Offloading | None]) -> RankGroup:
        """The ranks of one server: in lock step where they share experts."""
        clock, engine, rounds = self.roster.clock, blueprint.engine, blueprint.rank_times()
        adapted = blueprint.rank_times(adapters=True) if rounds is not None and engine.max_loras else None
        interval = engine.prefill_schedule_interval
        ranks = []
        for number in range(engine.data_parallel_size):
            cadence = RankCadence(interval) if rounds is not None and interval > 1 else None
            ranks.append(self._engine(blueprint, f"{name}.{number}", offloading[number], cadence, rounds, adapted))
        if rounds is None:
            return RankGroup(clock, name, ranks, None)
        noise = StepNoise(engine, self._seed, name) if engine.noisy else None
        lock_step = LockStep(clock, ranks, rounds, engine.dp_sync_interval, adapted, noise)
        for rank in ranks:
            rank.pace = lock_step
        return RankGroup(clock, name, ranks, lock_step)
