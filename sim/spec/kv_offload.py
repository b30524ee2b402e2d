"""Host memory behind the GPU's prefix cache (vLLM's ``--kv-offloading-size`` and its native backend)."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, field_validator
from pydantic.dataclasses import dataclass

from sim.spec.strict import STRICT

_STATED = {
    "lmcache": "chunks of 256 tokens, prompts only, loads that block the step",
    "hicache": "a pool of 2 x the GPU's, loads layer by layer beside the computing",
}
"""Backends whose defaults are known, but not their rules step by step."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class KvOffloadSpec:
    """How blocks move between GPU and host memory, and which go first. Off while ``engine.kv_offloading_size_gib`` is 0."""

    backend: Literal["native", "lmcache", "hicache"] = "native"
    """Whose rules: native is vLLM's OffloadingConnector; lmcache and hicache are refused, since only their defaults are
    stated, not the order in which they ask, store and evict."""
    eviction_policy: Literal["lru", "arc"] = "lru"
    """Which blocks of the tier go first (vLLM's default: lru)."""
    store_threshold: int = Field(default=0, ge=0)
    """A block is stored at its n-th offer; 0 and 1 = at the first (vLLM's default)."""
    prompt_only: bool = False
    """Generated tokens are not stored (vLLM: ``offload_prompt_only``)."""
    gb_s_per_direction: float | None = Field(default=None, gt=0)
    """Decimal GB/s that copying reaches between host and each GPU, each way; null = by the GPU's host link: 50 on PCIe 5
    (measured, one way, blocks of 2 MB: vLLM blog 2026-01-08; both ways at once 83), the same share of the nominal rate on
    older links (an assumption)."""
    job_s: float = Field(default=0.0002, ge=0)
    """Time that each copying job takes beside its bytes, seconds: an assumption, nothing measured was found."""

    @field_validator("backend")
    @classmethod
    def _modelled(cls, backend: str) -> str:
        if backend in _STATED:
            raise ValueError(f"kv_offload.backend={backend} ({_STATED[backend]}) is not modelled; native is")
        return backend
