"""What pools with roles must agree on: who prefills needs somebody who decodes, the same model, the same KV cache."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import product

from sim.spec.autoscaler import Autoscaler
from sim.spec.engine import EngineSpec
from sim.spec.fleet import FleetSpec, PoolSpec, Role
from sim.spec.gateway import GatewaySpec
from sim.spec.model import ModelSpec
from sim.spec.timeline import Change, Deploy, PoolSize

_COPIED = ("kv_cache_dtype", "block_size")
"""Options of an engine that decide what a block is."""


def check_roles(
    fleet: FleetSpec, gateway: GatewaySpec, model: ModelSpec, engine: EngineSpec, autoscaler: Autoscaler,
    timeline: Sequence[Change],
) -> None:  # fmt: skip
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
    for name in (*prefill, *decode):
        _check_begins(name, pools[name], pools[name].autoscaler or autoscaler, timeline)
    for first, second in product(prefill, decode):
        _check_pair(first, pools[first], second, pools[second], model, engine)
    for place, change in enumerate(timeline):
        if isinstance(change, Deploy) and change.pool in (*prefill, *decode):
            others = decode if change.pool in prefill else prefill
            _check_deploy(f"timeline.{place}", change, pools[change.pool], {name: pools[name] for name in others}, engine)


def _check_begins(name: str, pool: PoolSpec, autoscaler: Autoscaler, timeline: Sequence[Change]) -> None:
    """Refuse a pool that has no replica, and never will."""
    grows = any(isinstance(change, PoolSize) and change.pool == name and change.replicas for change in timeline)
    if pool.replicas + pool.headroom_replicas or autoscaler.kind != "none" or grows:
        return
    does = "computes prompts for the decode replicas" if pool.role == "prefill" else "answers"
    raise ValueError(
        f"fleet.pools.{name}.replicas: 0 replicas of role {pool.role} + 0 headroom, no autoscaler and no pool_size that "
        f"adds one: nobody {does}; take at least 1, or pools without roles"
    )


def _check_pair(first: str, prefill: PoolSpec, second: str, decode: PoolSpec, model: ModelSpec, engine: EngineSpec) -> None:
    models = [(pool.model or model) for pool in (prefill, decode)]
    if models[0] != models[1]:
        raise ValueError(
            f"fleet.pools: what {first} (prefill) hands over must be of the model that {second} (decode) serves, but got "
            f"{models[0].name} ({models[0].weight_dtype}) and {models[1].name} ({models[1].weight_dtype})"
        )
    engines = [(pool.engine or engine) for pool in (prefill, decode)]
    for name, pool, one in ((first, prefill, engines[0]), (second, decode, engines[1])):
        _check_engine(f"pool {name}", pool.role, one)
    for name in _COPIED:
        found = [getattr(one, name) for one in engines]
        if found[0] != found[1]:
            raise ValueError(
                f"fleet.pools: {first} (prefill) and {second} (decode) must agree on engine.{name}, since blocks are copied "
                f"as they are, but got {found[0]} and {found[1]}"
            )


def _check_deploy(key: str, deploy: Deploy, pool: PoolSpec, others: Mapping[str, PoolSpec], engine: EngineSpec) -> None:
    """Refuse a deploy after which a pool with a role does not fit the ``others`` any more."""
    if deploy.model is not None:
        raise ValueError(
            f"{key}.model: prefill and decode replicas serve one model, and a deploy changes one pool, but got "
            f"{deploy.model.name} for {deploy.pool!r} alone"
        )
    if deploy.engine is None:
        return
    _check_engine(f"pool {deploy.pool} ({key})", pool.role, deploy.engine)
    for other, partner in others.items():
        for name in _COPIED:
            new, there = getattr(deploy.engine, name), getattr(partner.engine or engine, name)
            if new != there:
                raise ValueError(
                    f"{key}.engine.{name}: {deploy.pool} ({pool.role}) and {other} ({partner.role}) must agree on it at all "
                    f"times, since blocks are copied as they are, but got {new} and {there}; two pools cannot change at once"
                )


def _check_engine(who: str, role: Role, engine: EngineSpec) -> None:
    _check_no_tier(who, engine)
    stated, fits = engine.kv_connector.role, "producer" if role == "prefill" else "consumer"
    if stated not in ("none", "both", fits):
        raise ValueError(
            f"engine.kv_connector.role={stated}: {who} has role {role}, whose engines are {fits} or both; none = as the "
            "pool's"
        )


def _check_no_tier(who: str, engine: EngineSpec) -> None:
    if engine.offloads_kv:
        raise ValueError(
            f"{engine.host_memory_words}: host memory behind the cache of an engine "
            f"that exchanges KV with others is not modelled; it must be 0 for {who}"
        )


def check_kv_store(fleet: FleetSpec, engine: EngineSpec) -> None:
    """A store that no engine can reach is a mistake.

    Raises:
        ValueError: no pool's engines have host memory for KV.
    """
    if fleet.kv_store.size_gib and not any((pool.engine or engine).offloads_kv for pool in fleet.all_pools().values()):
        raise ValueError(
            f"fleet.kv_store.size_gib={fleet.kv_store.size_gib:g}: all KV passes host memory on its way to the store, and "
            "no pool has any; state kv_offload=native, or engine.kv_offloading_size_gib"
        )
