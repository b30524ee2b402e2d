"""The options of a server that speculates, serves LoRA adapters or exchanges KV, as its command line has them."""

from __future__ import annotations

import json
from dataclasses import fields

from sim.spec import EngineSpec
from sim.spec.kv_connector import KvConnectorSpec
from sim.spec.kv_offload import KvOffloadSpec
from sim.spec.model import model_reference
from sim.spec.speculative import SpeculativeSpec
from sim.units import GIB

SAME_NAMES = tuple(
    field.name
    for field in fields(SpeculativeSpec)
    if field.name not in ("method", "acceptance", "model", "draft_vocab_size")
)
"""Keys of ``engine.speculative`` that vLLM has under the same names."""


def _offloading(engine: EngineSpec) -> list[str]:
    """vLLM's own flags, or the connector's options where they are not all usual. Without a flag: SGLang's HiCache, a pool's
    ratio, a disk (a folder is needed), the store of a fleet."""
    used, usual = engine.kv_offload, KvOffloadSpec()
    if used.backend == "hicache" or not engine.kv_offloading_size_gib:
        return []
    names = {"eviction_policy": "eviction_policy", "store_threshold": "store_threshold"}
    names |= {"prompt_only": "offload_prompt_only", "chunk_tokens": "block_size"}
    extra = {theirs: getattr(used, ours) for ours, theirs in names.items() if getattr(used, ours) != getattr(usual, ours)}
    if used.backend == "lmcache" or not extra:
        size = f"{engine.kv_offloading_size_gib:g}"
        return ["--kv-offloading-size", size, "--kv-offloading-backend", used.backend]
    extra = {"cpu_bytes_to_use": int(engine.kv_offloading_size_gib * GIB), **extra}
    config = {"kv_connector": "OffloadingConnector", "kv_role": "kv_both", "kv_connector_extra_config": extra}
    return ["--kv-transfer-config", json.dumps(config)]


def connector_config(connector: KvConnectorSpec, name: str) -> dict[str, object]:
    """vLLM's ``--kv-transfer-config`` of a server that hands KV over, or takes it over, by the connector ``name``."""
    usual = KvConnectorSpec()
    config: dict[str, object] = {"kv_connector": name, "kv_role": f"kv_{connector.role}"}
    if connector.load_failure_policy != usual.load_failure_policy:
        config["kv_load_failure_policy"] = connector.load_failure_policy
    if connector.lease_s != usual.lease_s:
        config["kv_connector_extra_config"] = {"kv_lease_duration": connector.lease_s}
    return config


def feature_words(engine: EngineSpec) -> list[str]:
    """What ``engine`` adds to the command line, word by word."""
    words: list[str] = []
    spec = engine.speculative
    if spec.drafts:
        usual = SpeculativeSpec()
        stated = {name: getattr(spec, name) for name in SAME_NAMES if getattr(spec, name) != getattr(usual, name)}
        model = {"model": model_reference(spec.model)} if spec.model is not None else {}
        words += ["--speculative-config", json.dumps({"method": spec.method, **model, **stated})]
    if engine.offloads_kv:
        words += _offloading(engine)
    if engine.max_loras:
        words += ["--enable-lora", "--max-loras", str(engine.max_loras), "--max-lora-rank", str(engine.max_lora_rank)]
        words += ["--max-cpu-loras", str(engine.max_cpu_loras)] if engine.max_cpu_loras is not None else []
        words += ["--fully-sharded-loras"] if engine.fully_sharded_loras else []
    return words
