"""What pools with roles must agree on: who prefills needs somebody who decodes, the same model, the same KV cache."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product

from sim.spec.engine import EngineSpec
from sim.spec.fleet import FleetSpec, PoolSpec
from sim.spec.gateway import GatewaySpec
from sim.spec.model import ModelSpec
from sim.spec.timeline import Change, Deploy


def check_roles(
    fleet: FleetSpec, gateway: GatewaySpec, model: ModelSpec, engine: EngineSpec, timeline: Sequence[Change]
) -> None:
    """Raises:
    ValueError: what does not fit, with what was found.
    """
    pools = fleet.all_pools()
    stated = ", ".join(f"{name}: {pool.role}" for name, pool in pools.items())
    prefill, decode = fleet.pools_of_role("prefill"), fleet.pools_of_role("decode")
    if prefill and not decode:
        raise ValueError(f"fleet.pools: role prefill needs a pool of role decode to hand over to, but got {stated}")
    if decode and not prefill:
        raise ValueError(f"fleet.pools: role decode needs a pool of role prefill to take over from, but got {stated}")
    if gateway.disaggregation is not None and not prefill:
        raise ValueError(
            f"gateway.disaggregation needs pools of roles prefill and decode (fleet.pools.NAME.role), but got {stated}"
        )
    for key, name in gateway.named_pools().items():
        if name in prefill:
            raise ValueError(f"{key} names a pool that answers, but got {name!r}, whose role is prefill")
    for first, second in product(prefill, decode):
        _check_pair(first, pools[first], second, pools[second], model, engine)
    for place, change in enumerate(timeline):
        if isinstance(change, Deploy) and change.engine is not None and change.pool in (*prefill, *decode):
            _check_no_tier(change.pool, change.engine)
        if isinstance(change, Deploy) and change.model is not None and change.pool in (*prefill, *decode):
            raise ValueError(
                f"timeline.{place}.model: prefill and decode replicas serve one model, and a deploy changes one pool, but "
                f"got {change.model.name} for {change.pool!r} alone"
            )


def _check_pair(first: str, prefill: PoolSpec, second: str, decode: PoolSpec, model: ModelSpec, engine: EngineSpec) -> None:
    models = [(pool.model or model) for pool in (prefill, decode)]
    if models[0] != models[1]:
        raise ValueError(
            f"fleet.pools: what {first} (prefill) hands over must be of the model that {second} (decode) serves, but got "
            f"{models[0].name} ({models[0].weight_dtype}) and {models[1].name} ({models[1].weight_dtype})"
        )
    engines = [(pool.engine or engine) for pool in (prefill, decode)]
    _check_no_tier(first, engines[0])
    _check_no_tier(second, engines[1])
    for name in ("kv_cache_dtype", "block_size"):
        found = [getattr(one, name) for one in engines]
        if found[0] != found[1]:
            raise ValueError(
                f"fleet.pools: {first} (prefill) and {second} (decode) must agree on engine.{name}, since blocks are copied "
                f"as they are, but got {found[0]} and {found[1]}"
            )


def _check_no_tier(pool: str, engine: EngineSpec) -> None:
    if engine.kv_offloading_size_gib:
        raise ValueError(
            f"engine.kv_offloading_size_gib={engine.kv_offloading_size_gib:g}: host memory behind the cache of an engine "
            f"that exchanges KV with others is not modelled; it must be 0 for pool {pool}"
        )
