"""``KvTiers``: host memory of engines, the disks of machines and the store that a fleet's engines share."""

from __future__ import annotations

from math import inf

from sim.engine.clock import Clock
from sim.engine.traffic import Traffic
from sim.errors import ConfigError
from sim.fleet.blueprint import Blueprint
from sim.fleet.machine import Machine
from sim.links.transfers import Link
from sim.perf.kv_offload import OffloadPlan
from sim.spec import Scenario
from sim.tiers.below import Below, Level, Waiting
from sim.tiers.content_tree import ContentTree
from sim.tiers.host_link import Copying, Manner
from sim.tiers.offloading import Offloading
from sim.tiers.tier import Tier
from sim.units import GIB


class KvTiers:
    """What of it lives longer than one server."""

    def __init__(self, clock: Clock, scenario: Scenario) -> None:
        self._clock = clock
        self._spec = scenario.fleet.kv_store
        self._wires = scenario.fleet.kv_transfer
        self._disks: dict[Machine, tuple[Traffic, Link, Link]] = {}
        self._traffic = Traffic(clock)
        rate = self._spec.gb_s * 1e9
        self._out, self._in = Link("KV store out", rate), Link("KV store in", rate)
        self.stores: dict[str, tuple[Tier, ContentTree]] = {}
        """Of each kind of engine."""

    def of_server(self, blueprint: Blueprint, machine: Machine, name: str) -> list[Offloading | None]:
        """For each rank of server ``name`` on ``machine``; None where its engines have no host memory for KV.

        Raises:
            ConfigError: the store has no room for one chunk.
        """
        plan, ranks = blueprint.offload, blueprint.engine.data_parallel_size
        if plan is None:
            return [None] * ranks
        store = self._store(plan) if self._spec.size_gib else None
        rate = self._wires.nic_gb_per_s * 1e9 * self._wires.nics_per_gpu * blueprint.gpus
        nic_in, nic_out = Link(f"{name} in", rate), Link(f"{name} out", rate)
        found: list[Offloading | None] = []
        for rank in range(ranks):
            levels = self._disk_level(blueprint, plan, machine)
            tree = ContentTree()
            if store is not None:
                shared, tree = store
                read, write = (self._out, nic_in), (nic_out, self._in)
                levels.append(Level("store", shared, self._traffic, read, write, self._wires.setup_s))
            found.append(self._offloading(blueprint, plan, levels, tree, f"{name}.{rank}"))
        return found

    def _offloading(
        self, blueprint: Blueprint, plan: OffloadPlan, levels: list[Level], tree: ContentTree, writer: str
    ) -> Offloading:
        spec, rules = blueprint.engine.kv_offload, blueprint.engine.kv_offload.rules
        host = Tier(plan.chunks, spec.eviction_policy == "arc", spec.store_threshold)
        tokens = plan.chunk_blocks * blueprint.engine.block_size
        below = None
        if levels:
            base_s = inf if rules.promote_wait_s is None else rules.promote_wait_s
            waiting = Waiting(
                base_s, rules.promote_wait_s_per_1k_tokens * tokens / 1024, -(-rules.promote_least_tokens // tokens)
            )
            below = Below(self._clock, host, levels, plan.chunk_bytes, waiting, writer)
        manner = Manner(rules.prompt_only, rules.loads, plan.chunk_blocks, rules.least_tokens, plan.layers)
        return Offloading(self._clock, host, Copying(plan.job_s, plan.block_s, plan.block_s), manner, below, tree)

    def _disk_level(self, blueprint: Blueprint, plan: OffloadPlan, machine: Machine) -> list[Level]:
        spec = blueprint.engine.kv_offload.disk
        if not plan.disk_chunks:
            return []
        if machine not in self._disks:
            read, write = Link("KV disk out", spec.read_gb_s * 1e9), Link("KV disk in", spec.write_gb_s * 1e9)
            self._disks[machine] = (Traffic(self._clock), read, write)
        traffic, read, write = self._disks[machine]
        tier = Tier(plan.disk_chunks, spec.eviction_policy == "arc", spec.store_threshold)
        return [Level("disk", tier, traffic, (read,), (write,), spec.latency_s)]

    def _store(self, plan: OffloadPlan) -> tuple[Tier, ContentTree]:
        if plan.kind not in self.stores:
            spec = self._spec
            chunks = int(spec.size_gib * GIB // plan.chunk_bytes)
            if chunks < 1:
                raise ConfigError(
                    f"fleet.kv_store.size_gib={spec.size_gib:g}: not one chunk ({plan.chunk_bytes / GIB:.3g} GiB) of "
                    f"{plan.kind} fits"
                )
            self.stores[plan.kind] = Tier(chunks, spec.eviction_policy == "arc", spec.store_threshold), ContentTree()
        return self.stores[plan.kind]
