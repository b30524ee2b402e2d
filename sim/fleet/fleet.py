"""``Fleet``: puts the room together. It alone knows all of it.

    roster, endpoints          who exists, who takes requests; no policy
    coming, going, pool        how servers come and go, and keep a pool's size
    spot market, failures, timeline, controllers, background work     who want it otherwise

A fleet whose pools neither scale nor fail starts no process and no timer: all servers are ready from the start and live
to the end.
"""

from __future__ import annotations

from sim.engine.gaps import GapHistogram
from sim.engine.kv_source import KvSource
from sim.engine.listener import EngineListener, StepListener
from sim.engine.traffic import Traffic
from sim.errors import ConfigError
from sim.fleet.background import Background
from sim.fleet.blueprint import Blueprint
from sim.fleet.closing import Closing
from sim.fleet.coming import Coming
from sim.fleet.factory import ServerFactory
from sim.fleet.failures import Failures
from sim.fleet.going import Going
from sim.fleet.outages import Outages, RandomOutages
from sim.fleet.placement import Placement
from sim.fleet.pool import Pool
from sim.fleet.roster import Roster
from sim.fleet.scaling.autoscalers import make_autoscaler
from sim.fleet.scaling.controller import Controller
from sim.fleet.scaling.observations import Observations
from sim.fleet.spot import SpotMarket
from sim.fleet.timeline import Timeline
from sim.perf.steady import MeanRequest
from sim.plugins import Plugins
from sim.spec import PoolSpec, Scenario
from sim.spec.autoscaler import NoAutoscaler
from sim.spec.timeline import PoolSize


class Fleet:
    """Fills ``roster`` with the servers of ``scenario`` and lets them live.

    Args:
        scenario: what is asked; its fleet, autoscaler, spot and timeline are this room's.
        roster: where the servers are entered.
        listener: told by engines how requests leave them.
        gaps: collects the gaps between tokens.
        mean: lengths of the requests that are to come, which default targets follow from.
        plugins: where autoscalers of one's own come from.
        steps: told of every step (engines then step every token).
        handover: where engines of pools with a role get KV caches from.
    """

    def __init__(
        self,
        scenario: Scenario,
        roster: Roster,
        listener: EngineListener,
        gaps: GapHistogram,
        mean: MeanRequest,
        plugins: Plugins,
        steps: StepListener | None = None,
        handover: KvSource | None = None,
    ) -> None:
        spec = scenario.fleet
        scalers = {name: pool.autoscaler or scenario.autoscaler for name, pool in spec.all_pools().items()}
        observations = None
        if any(not isinstance(scaler, NoAutoscaler) for scaler in scalers.values()):
            listener = observations = Observations(len(scalers), listener)
        background = Background(roster, spec.background, listener) if spec.background is not None else None
        self._factory = ServerFactory(roster, scenario, background or listener, gaps, steps, handover)
        self._going = Going(roster, spec)
        self._traffic = Traffic(roster.clock)
        roster.listen(Failures(self._going, spec.failures, scenario.seed))
        outages = Outages(self._going)
        self.pools = {name: self._pool(scenario, name, pool) for name, pool in spec.all_pools().items()}
        markets: list[SpotMarket] = []
        for pool in self.pools.values():
            if _buys_spot(pool):
                roster.listen(SpotMarket(pool, scenario, markets))
        for pool in self.pools.values():
            roster.listen(pool)
            pool.begin()
        grows = any(isinstance(change, PoolSize) and change.replicas for change in scenario.timeline)
        if not (roster.endpoints.ready or observations is not None or scenario.gateway.apis or grows):
            raise ConfigError(
                "fleet.replicas: needs at least one replica, an autoscaler that starts one, or an API, but got 0"
            )
        if spec.gpu_budget is not None and roster.gpus() > spec.gpu_budget:
            raise ConfigError(
                f"fleet.gpu_budget: the fleet begins with {roster.gpus()} GPUs (headroom and sleepers among them), but "
                f"got a budget of {spec.gpu_budget}"
            )
        for market in markets:
            market.start()
        for name, scaler in scalers.items():
            if observations is not None and not isinstance(scaler, NoAutoscaler):
                pool = self.pools[name]
                policy = make_autoscaler(scaler, pool.coming.blueprint, scenario.slo, mean, plugins)
                Controller(pool, policy, scaler, observations)
        if background is not None:
            roster.listen(background)
            background.start()
        Timeline(roster, self.pools, outages, scenario.timeline)
        scaled = [name for name, one in scalers.items() if one.kind != "none" and self.pools[name].spec.max_replicas]
        roster.listen(Closing(roster, self.pools, scaled, scenario.timeline))
        RandomOutages(outages, spec, scenario.seed)

    def _pool(self, scenario: Scenario, name: str, pool: PoolSpec) -> Pool:
        blueprint = Blueprint(
            name, pool.model or scenario.model, pool.gpu or scenario.gpu, pool.engine or scenario.engine, role=pool.role
        )
        market = scenario.cost.market or pool.market
        members = self._factory.roster.pools[name]
        placement = Placement(self._factory.roster, members, pool, market, pool.spot or scenario.spot)
        coming = Coming(self._factory, placement, blueprint, self._traffic, scenario)
        self._factory.roster.listen(coming)
        return Pool(pool, coming, self._going, scaled=scenario.scales(pool))


def _buys_spot(pool: Pool) -> bool:
    placement = pool.placement
    return placement.market == "spot" and (placement.spot.hazard is not None or placement.spot.on_demand_share > 0)
