"""The fleet: pools of identical replicas."""

from __future__ import annotations

from pydantic import Field
from pydantic.dataclasses import dataclass

from sim.spec.engine import EngineSpec
from sim.spec.gpu import GpuSpec, Market
from sim.spec.model import ModelSpec
from sim.spec.strict import STRICT


@dataclass(frozen=True, kw_only=True, config=STRICT)
class PoolSpec:
    """Identical replicas. What is None is taken from the scenario's own ``model``, ``gpu`` and ``engine``."""

    replicas: int = Field(default=1, ge=0)
    model: ModelSpec | None = None
    gpu: GpuSpec | None = None
    engine: EngineSpec | None = None
    market: Market = "on_demand"
    zone: str = "zone_a"


@dataclass(frozen=True, kw_only=True, config=STRICT)
class FleetSpec:
    """``replicas`` of the scenario's own model, GPU and engine, or named ``pools`` for a mixed fleet."""

    replicas: int = Field(default=1, ge=0)
    """Used when ``pools`` is empty: one pool named ``main``."""
    market: Market = "on_demand"
    pools: dict[str, PoolSpec] = Field(default_factory=dict)

    def all_pools(self) -> dict[str, PoolSpec]:
        """The pools by name; a plain fleet is the single pool ``main``."""
        return dict(self.pools) or {"main": PoolSpec(replicas=self.replicas, market=self.market)}
