"""``--speculative-config``, ``--kv-transfer-config`` and the LoRA options of ``vllm serve`` as keys of ``engine``.

Source: vLLM 0.33 ``vllm/config/speculative.py`` (a method that is not stated follows from the draft's name), ``lora.py``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from sim.cli.lines.model_names import model_of
from sim.spec.serve_features import SAME_NAMES
from sim.units import GIB

_METHODS = {
    "ngram": "ngram", "ngram_gpu": "ngram", "[ngram]": "ngram", "eagle": "eagle", "eagle3": "eagle3", "mtp": "mtp",
    "draft_model": "draft_model",
}  # fmt: skip
_WITHOUT_EFFECT = {
    "prompt_lookup_max", "prompt_lookup_min", "quantization", "revision", "max_model_len", "draft_load_config",
    "enforce_eager", "rejection_sample_method", "draft_sample_method", "disable_padded_drafter_batch", "attention_backend",
    "moe_backend", "use_heterogeneous_vocab", "code_revision",
}  # fmt: skip


def speculative_config(value: Any) -> dict[str, Any]:
    """``--speculative-config``; how many drafts are accepted is no option of a server: ``engine.speculative.acceptance``.

    Raises:
        ValueError: a method or a key that is not modelled.
    """
    if value in (None, "", {}):
        return {}
    if not isinstance(value, Mapping):
        raise ValueError(f"expected JSON, but got {value!r}")
    known = {"method", "model", "synthetic_acceptance_rates", "synthetic_acceptance_length", *SAME_NAMES, *_WITHOUT_EFFECT}
    strange = sorted(set(value) - known)
    if strange:
        raise ValueError(f"{', '.join(strange)} of speculative decoding")
    method = _method(value)
    found: dict[str, Any] = {"method": method, **{name: value[name] for name in SAME_NAMES if name in value}}
    if method == "draft_model":
        found["model"] = model_of(str(value.get("model", "")))[0]
    stated = {"rates": value.get("synthetic_acceptance_rates"), "length": value.get("synthetic_acceptance_length")}
    acceptance = {name: one for name, one in stated.items() if one is not None}
    return {"speculative": {**found, "acceptance": acceptance} if acceptance else found}


def _method(value: Mapping[str, Any]) -> str:
    stated, draft = value.get("method"), str(value.get("model", "")).lower()
    if stated is None:
        stated = "eagle3" if "eagle3" in draft or "eagle-3" in draft else "eagle" if "eagle" in draft else "draft_model"
        stated = "ngram" if draft in ("ngram", "[ngram]") else "mtp" if re.search(r"(^|[/_-])mtp", draft) else stated
    method = _METHODS.get(str(stated), "mtp" if str(stated).endswith("_mtp") else "")
    if not method:
        known = ", ".join(sorted(set(_METHODS.values())))
        raise ValueError(f"method {stated} of speculative decoding; {known} are modelled")
    return method


_OFFLOAD = {
    "eviction_policy": "eviction_policy", "store_threshold": "store_threshold", "offload_prompt_only": "prompt_only",
    "block_size": "chunk_tokens",
}  # fmt: skip
_OFFLOAD_SIZE = "cpu_bytes_to_use"


def kv_transfer_config(value: Any) -> dict[str, Any]:
    """``--kv-transfer-config``: the OffloadingConnector's host memory. What connects servers needs pools that have roles,
    which no line of one server states.

    Raises:
        ValueError: another connector, or a key that is not modelled.
    """
    if value in (None, "", {}):
        return {}
    if not isinstance(value, Mapping):
        raise ValueError(f"expected JSON, but got {value!r}")
    connector = str(value.get("kv_connector", ""))
    if connector != "OffloadingConnector":
        raise ValueError(f"kv_connector {connector}: state pools with roles; OffloadingConnector alone is a server's own")
    extra = value.get("kv_connector_extra_config", {})
    strange = sorted(set(extra) - set(_OFFLOAD) - {_OFFLOAD_SIZE, "num_cpu_blocks"})
    if "secondary_tiers" in strange:
        raise ValueError("secondary_tiers of KV offload state no size: see engine.kv_offload.disk and fleet.kv_store")
    if strange or "num_cpu_blocks" in extra:
        raise ValueError(f"{', '.join(strange or ['num_cpu_blocks'])} of KV offload; {_OFFLOAD_SIZE} is modelled")
    if _OFFLOAD_SIZE not in extra:
        raise ValueError(f"OffloadingConnector without {_OFFLOAD_SIZE}")
    used = {ours: extra[name] for name, ours in _OFFLOAD.items() if name in extra}
    size = {"kv_offloading_size_gib": float(extra[_OFFLOAD_SIZE]) / GIB}
    return {**size, "kv_offload": used} if used else size


def kv_offloading_backend(value: Any) -> dict[str, Any]:
    """``--kv-offloading-backend``.

    Raises:
        ValueError: neither vLLM's own nor LMCache.
    """
    if value in (None, "", "native"):
        return {}
    if value != "lmcache":
        raise ValueError(f"KV offload by {value}; native and lmcache are modelled")
    return {"kv_offload": {"backend": "lmcache"}}


def with_lora(options: Mapping[str, Any], engine: dict[str, Any]) -> dict[str, Any]:
    """``engine`` with what ``--enable-lora`` among a line's ``options`` means: one slot unless ``max_loras`` says more;
    without it the others mean nothing."""
    own = {"max_loras", "max_cpu_loras", "max_lora_rank", "fully_sharded_loras"}
    if options.get("enable_lora") in (True, "true", "True"):
        return {"max_loras": 1, **engine}
    return {name: value for name, value in engine.items() if name not in own}
