"""``Scenario``: everything a simulation needs to know, frozen and validated."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from pydantic import Field, TypeAdapter, ValidationError, model_validator
from pydantic.dataclasses import dataclass

from sim.errors import ConfigError
from sim.spec.autoscaler import Autoscaler, NoAutoscaler
from sim.spec.cost import CostSpec
from sim.spec.decide import DecideSpec
from sim.spec.engine import EngineSpec
from sim.spec.fleet import FleetSpec, PoolSpec
from sim.spec.gateway import GatewaySpec
from sim.spec.gpu import GpuSpec
from sim.spec.legal_keys import dotted, unknown_key
from sim.spec.model import ModelSpec
from sim.spec.roles import check_kv_store, check_roles
from sim.spec.search import OutputSpec, SearchSpec
from sim.spec.slo import Slo
from sim.spec.spot import SpotSpec
from sim.spec.strict import STRICT
from sim.spec.timeline import Change
from sim.spec.workload import WorkloadSpec


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Scenario:
    """One question: this traffic, through this gateway, on this fleet, under this SLO, at these prices."""

    model: ModelSpec
    """What is served: geometry and number types of a decoder; a preset (``model=NAME``), or a checkpoint's own
    ``hf_config``."""
    gpu: GpuSpec
    """What it is served on: one GPU type, with its prices."""
    engine: EngineSpec = Field(default_factory=EngineSpec)
    """The inference engine of every replica whose pool does not state its own."""
    fleet: FleetSpec = Field(default_factory=FleetSpec)
    """How many replicas there are, in which pools, and how they come up, are billed and fail."""
    autoscaler: Autoscaler = Field(default_factory=NoAutoscaler)
    """Of every pool that does not state its own."""
    spot: SpotSpec = Field(default_factory=SpotSpec)
    """Of every pool on the spot market that does not state its own."""
    timeline: tuple[Change, ...] = ()
    """What changes during the run."""
    workload: WorkloadSpec
    """The requests: where they come from, and what is done to them before the run."""
    gateway: GatewaySpec = Field(default_factory=GatewaySpec)
    """What stands between users and engines: routing, deadlines, retries, admission, caches, APIs."""
    slo: Slo = Field(default_factory=Slo)
    """What must hold: percentiles of latency, and the share of requests that may fail."""
    cost: CostSpec = Field(default_factory=CostSpec)
    """What is paid besides the GPUs' hourly price."""
    search: SearchSpec = Field(default_factory=SearchSpec)
    """What one job searches for by itself, and how hard."""
    decide: DecideSpec = Field(default_factory=DecideSpec)
    """Options to set side by side."""
    output: OutputSpec = Field(default_factory=OutputSpec)
    """Which files a run leaves."""
    seed: int = Field(default=0, ge=0)
    """Every random stream is derived from it and from the stream's name: the same seed gives the same bytes."""
    check_invariants: bool = False
    """Test the laws of engine and records at every step; slow. A breach ends the run with exit code 1."""

    @model_validator(mode="after")
    def _check(self) -> Scenario:
        pools = self.fleet.all_pools()
        for key, pool in self.gateway.named_pools().items():
            if pool not in pools:
                raise ValueError(f"{key} names no pool of the fleet, but got {pool!r}; pools are {', '.join(pools)}")
        check_roles(self.fleet, self.gateway, self.model, self.engine, self.autoscaler, self.timeline)
        check_kv_store(self.fleet, self.engine)
        places = {*pools, *(zone for pool in pools.values() for zone in (pool.zones or (pool.zone,)))}
        for place in self.gateway.network_one_way_s:
            if place not in places:
                known = ", ".join(sorted(places))
                raise ValueError(f"gateway.network_one_way_s names pools or zones, but got {place!r}; there are {known}")
        return self

    def scales(self, pool: PoolSpec) -> bool:
        """Whether an autoscaler, its own or the scenario's, looks after ``pool``."""
        return (pool.autoscaler or self.autoscaler).kind != "none"

    @property
    def has_machines(self) -> bool:
        """Whether any pool holds, or may come to hold, a replica: without one, APIs alone answer."""
        grows = any(change.kind == "pool_size" and change.replicas > 0 for change in self.timeline)
        return grows or any(
            pool.replicas + pool.headroom_replicas + pool.warm_replicas > 0 or self.scales(pool)
            for pool in self.fleet.all_pools().values()
        )


_SCENARIO = TypeAdapter(Scenario)


def parse_scenario(data: dict[str, Any]) -> Scenario:
    """The scenario that plain ``data`` (a composed configuration) describes.

    Raises:
        ConfigError: every mistake at once, one line each: dotted key, what was found, what is legal.
    """
    try:
        scenario = _SCENARIO.validate_python(data)
    except ValidationError as error:
        lines = []
        for item in error.errors():
            path = [str(part) for part in item["loc"]]
            if item["type"] == "unexpected_keyword_argument":
                lines.append(unknown_key(Scenario, path))
                continue
            key = dotted(Scenario, path) or "(whole configuration)"
            if item["type"] == "value_error":  # our own rules name what they found
                lines.append(f"{key}: {item['ctx']['error']}" if path else str(item["ctx"]["error"]))
                continue
            found = "" if item["type"] == "missing" else f", but got {item['input']!r}"
            lines.append(f"{key}: {item['msg']}{found}")
        raise ConfigError("\n".join(lines)) from None
    booleans = [f"{key}: expected a number, but got {found}" for key, found in _booleans_for_numbers(data, scenario, ())]
    if booleans:
        raise ConfigError("\n".join(booleans))
    return scenario


def _booleans_for_numbers(stated: Any, parsed: Any, path: tuple[str, ...]) -> Iterator[tuple[str, bool]]:
    """Where ``true`` was stated and 1 understood: Python's booleans are numbers, a configuration's are not."""
    if isinstance(stated, bool) and not isinstance(parsed, bool | str):
        yield ".".join(path), stated
    elif isinstance(stated, dict):
        for name, value in stated.items():
            inner = parsed.get(name) if isinstance(parsed, dict) else getattr(parsed, str(name), None)
            if inner is not None:
                yield from _booleans_for_numbers(value, inner, (*path, str(name)))
    elif isinstance(stated, list | tuple) and isinstance(parsed, list | tuple):
        for place, (value, inner) in enumerate(zip(stated, parsed, strict=False)):
            yield from _booleans_for_numbers(value, inner, (*path, str(place)))


def scenario_to_dict(scenario: Scenario) -> dict[str, Any]:
    """Plain data from which ``parse_scenario`` makes the same scenario again."""
    dumped: dict[str, Any] = _SCENARIO.dump_python(scenario, mode="json")
    return dumped
