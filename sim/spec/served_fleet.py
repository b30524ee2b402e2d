"""The servers of a fleet: what each pool's are started with, roles included."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from sim.spec.engine import EngineSpec
from sim.spec.fleet import Role
from sim.spec.gpu import GpuSpec
from sim.spec.model import ModelSpec
from sim.spec.scenario import Scenario
from sim.spec.serve_line import serve_line, serve_words


@dataclass(frozen=True, kw_only=True)
class ServedPool:
    """Equal servers of a fleet."""

    name: str
    model: ModelSpec
    gpu: GpuSpec
    engine: EngineSpec
    """As the pool's role has it."""
    role: Role
    replicas: int
    """At the start."""
    protocol: str | None
    """How KV gets from a prefill pool to a decode pool (``gateway.disaggregation.protocol``); None = no role."""

    def words(self) -> list[str]:
        """The command line, word by word."""
        return serve_words(self.model, self.engine, self.protocol)

    def line(self) -> str:
        """The command line."""
        return serve_line(self.model, self.engine, self.protocol)


def in_role(engine: EngineSpec, role: Role) -> EngineSpec:
    """``engine`` as the servers of a pool with ``role`` run it: a prefill pool's produce KV, a decode pool's consume it,
    unless a role of the engine's own is stated."""
    if role == "both" or engine.kv_connector.role != "none":
        return engine
    return replace(engine, kv_connector=replace(engine.kv_connector, role="producer" if role == "prefill" else "consumer"))


def served_pools(scenario: Scenario) -> Iterator[ServedPool]:
    """Every pool of the fleet, in its order."""
    split = scenario.gateway.disaggregation
    for name, pool in scenario.fleet.all_pools().items():
        yield ServedPool(
            name=name,
            model=pool.model or scenario.model,
            gpu=pool.gpu or scenario.gpu,
            engine=in_role(pool.engine or scenario.engine, pool.role),
            role=pool.role,
            replicas=pool.replicas,
            protocol=None if pool.role == "both" else "pull" if split is None else split.protocol,
        )


def server_title(lines: Mapping[str, str], pools: str) -> str:
    """What stands before a line of ``server_lines`` that starts ``pools``."""
    return "Server" if len(lines) == 1 else f"Server of {pools}"


def server_lines(scenario: Scenario) -> dict[str, str]:
    """Command line -> the pools that are started with it, by name and in words."""
    lines: dict[str, list[str]] = {}
    for pool in served_pools(scenario):
        lines.setdefault(pool.line(), []).append(pool.name)
    return {line: ", ".join(names) for line, names in lines.items()}
