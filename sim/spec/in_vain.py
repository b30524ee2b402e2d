"""``stated_in_vain``: keys of a feature that is off, or that nothing of the scenario uses. They are legal, since a sweep
passes through them (no drafts, no roles, one rank), so they are said instead of refused."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import fields
from typing import Any

from sim.spec.engine import EngineSpec
from sim.spec.kv_connector import KvConnectorSpec
from sim.spec.kv_offload import KvOffloadSpec
from sim.spec.kv_transfer import KvTransferSpec
from sim.spec.lora import LoraSpec
from sim.spec.model import ModelSpec
from sim.spec.scenario import Scenario
from sim.spec.speculative import MEASURED_RATES, SpeculativeSpec
from sim.spec.timeline import Deploy

_OF_RANKS = ("dp_sync_interval", "enable_dbo", "dbo_decode_token_threshold", "dbo_prefill_token_threshold")
_OF_LORA = ("max_cpu_loras", "max_lora_rank", "fully_sharded_loras")
_OF_DRAFT_LAYERS = (
    "model", "draft_vocab_size", "draft_tensor_parallel_size", "parallel_drafting", "disable_lookahead_block_hashes",
)  # fmt: skip


def stated_in_vain(scenario: Scenario) -> list[str]:
    """Sentences on what ``scenario`` states beside its defaults and does not use, and on drafts whose acceptance was
    measured on another model than the one served, or whose layers are assumed."""
    found: dict[str, None] = {}
    for key, model, engine in _engines(scenario):
        for sentence in (*_of_engine(key, engine), *_of_drafts(key, model, engine)):
            found[sentence] = None
    return [*found, *_of_fleet(scenario), *_of_money(scenario)]


def _engines(scenario: Scenario) -> Iterator[tuple[str, ModelSpec, EngineSpec]]:
    """Every engine that serves, with the key under which it is stated."""
    pools = scenario.fleet.all_pools()
    for name, pool in pools.items():
        key = "engine" if pool.engine is None else f"fleet.pools.{name}.engine"
        yield key, pool.model or scenario.model, pool.engine or scenario.engine
    for place, change in enumerate(scenario.timeline):
        if isinstance(change, Deploy) and change.engine is not None and change.pool in pools:
            yield f"timeline.{place}.engine", change.model or pools[change.pool].model or scenario.model, change.engine


def _of_engine(key: str, engine: EngineSpec) -> Iterator[str]:
    spec = engine.speculative
    if spec.method is not None and not spec.drafts:
        yield (
            f"{key}.speculative.method={spec.method} makes no drafts (num_speculative_tokens=0): the run is without "
            "speculation."
        )
    elif spec.method is None and (keys := _changed(spec, SpeculativeSpec())):
        yield f"{_keys(f'{key}.speculative', keys)} without effect: no method makes drafts (speculative.method=null)."
    elif spec.method == "ngram" and (keys := _changed(spec, SpeculativeSpec(), _OF_DRAFT_LAYERS)):
        yield f"{_keys(f'{key}.speculative', keys)} without effect: n-gram drafts are made without layers."
    if not engine.max_loras:
        keys = [*_changed(engine, EngineSpec(), _OF_LORA), *(f"lora.{name}" for name in _changed(engine.lora, LoraSpec()))]
        if keys:
            yield f"{_keys(key, keys)} without effect: LoRA is off ({key}.max_loras=0)."
    if not engine.offloads_kv and (keys := _changed(engine.kv_offload, KvOffloadSpec())):
        yield f"{_keys(f'{key}.kv_offload', keys)} without effect: no host memory for KV (kv_offloading_size_gib=0)."
    if engine.offloads_kv and not engine.enable_prefix_caching:
        yield (
            f"{key}.enable_prefix_caching is off: what the GPU still holds is not found there, every prompt that is known "
            "is loaded from host memory."
        )
    if engine.data_parallel_size == 1 and (keys := _changed(engine, EngineSpec(), _OF_RANKS)):
        yield f"{_keys(key, keys)} without effect: one rank steps alone ({key}.data_parallel_size=1)."
    if engine.expert_ranks == 1 and engine.enable_expert_parallel:
        yield f"{key}.enable_expert_parallel without effect: one GPU (tensor x data parallel) holds all experts anyway."


def _of_drafts(key: str, model: ModelSpec, engine: EngineSpec) -> Iterator[str]:
    spec = engine.speculative
    if not spec.drafts or spec.method is None:
        return
    if spec.method == "mtp" and not model.prediction_layers and spec.model is None:
        yield (
            f"{key}.speculative.method=mtp drafts with prediction layers of the checkpoint; none of {model.name} are known: "
            "one like its last layer is assumed."
        )
    stated = spec.acceptance
    names = stated.measured_on if stated.stated else MEASURED_RATES[spec.method].measured_on
    if names and not any(_letters(name) in _letters(model.name) for name in names):
        whose = "as stated was measured" if stated.stated else f"is the default of {spec.method}, measured"
        yield (
            f"Acceptance of drafts {whose} on {names[-1]}, but {model.name} is served: an assumption; state its own "
            f"({key}.speculative.acceptance)."
        )


def _letters(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())


def _of_fleet(scenario: Scenario) -> Iterator[str]:
    fleet = scenario.fleet
    if fleet.pools_of_role("prefill"):
        split = scenario.gateway.disaggregation
        if split is not None and split.kind == "prefix" and split.non_cached_tokens == 0:
            yield (
                "gateway.disaggregation.non_cached_tokens=0 means never, as in llm-d: decode replicas compute all prompts, "
                "and prefill replicas are paid for nothing."
            )
        return
    if keys := [name for name in _changed(fleet.kv_transfer, KvTransferSpec()) if name != "source"]:
        yield f"{_keys('fleet.kv_transfer', keys)} without effect: no pool has a role, so no KV travels between replicas."
    for key, _, engine in _engines(scenario):
        if keys := _changed(engine.kv_connector, KvConnectorSpec()):
            yield f"{_keys(f'{key}.kv_connector', keys)} without effect: no pool has a role (fleet.pools.NAME.role)."
            return


def _of_money(scenario: Scenario) -> Iterator[str]:
    own, pools, cost = scenario.gpu.name, scenario.fleet.all_pools().values(), scenario.cost
    if cost.purchase is not None and all(pool.gpu is not None for pool in pools):
        yield (
            f"cost.purchase without effect: it prices the configuration's own GPU ({own}), and every pool names the GPU "
            "that it stands on."
        )
    if cost.commitment is not None and not any((pool.gpu or scenario.gpu).name == own for pool in pools):
        yield (
            f"cost.commitment reserves {own}, the configuration's own GPU, on which no pool stands: paid, it covers nothing."
        )


def _changed(stated: Any, usual: Any, names: tuple[str, ...] | None = None) -> list[str]:
    """Keys of ``stated`` that differ from ``usual``."""
    known = names or tuple(field.name for field in fields(usual))
    return [name for name in known if getattr(stated, name) != getattr(usual, name)]


def _keys(prefix: str, names: list[str]) -> str:
    return f"{', '.join(f'{prefix}.{name}' for name in names)} {'is' if len(names) == 1 else 'are'} stated"
