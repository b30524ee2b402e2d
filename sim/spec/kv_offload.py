"""Tiers of KV behind the GPU's prefix cache: host memory, a disk, and a store that replicas share."""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

from pydantic import Field
from pydantic.dataclasses import dataclass

from sim.spec.strict import STRICT

Eviction = Literal["lru", "arc"]
Loads = Literal["beside", "in_step", "by_layer"]


class Backend(NamedTuple):
    """How a system keeps KV in host memory, where nothing else is stated."""

    chunk_tokens: int | None
    """None = one block of the engine."""
    loads: Loads
    prompt_only: bool
    least_tokens: int
    promote_least_tokens: int
    promote_wait_s: float | None
    promote_wait_s_per_1k_tokens: float


BACKENDS = {
    "native": Backend(None, "beside", False, 1, 1, None, 0.0),
    "lmcache": Backend(256, "in_step", True, 1, 1, None, 0.0),
    "hicache": Backend(64, "by_layer", False, 10, 256, 1.0, 0.25),
}
"""Sources, read 2026-11. native: vLLM 0.33, ``v1/kv_offload`` (``blocks_per_chunk`` 1). lmcache: LMCache,
``lmcache/v1/config.py`` (``chunk_size`` 256, ``save_decode_cache`` false, ``enable_async_loading`` false,
``min_retrieve_tokens`` 0, ``cache_policy`` LRU). hicache: SGLang, ``mem_cache/hiradix_cache.py`` (``load_back_threshold``
10, ``prefetch_threshold`` 256, ``prefetch_timeout_base`` 1, ``prefetch_timeout_per_ki_token`` 0.25, policy ``timeout``) and
``docs/advanced_features/hicache_best_practices.md`` (``--page-size`` 64)."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class KvDiskSpec:
    """A disk below host memory. Replicas on one machine share its bandwidth, each has its own part of the room."""

    size_gib: float = Field(default=0.0, ge=0)
    """Room for KV, GiB a replica; 0 = no disk."""
    read_gb_s: float = Field(default=6.5, gt=0)
    """Decimal GB/s that a machine's disks read: 6.5 steady was measured of one NVMe (PegaFlow, vLLM blog 2026-05-18);
    several in RAID0 add up."""
    write_gb_s: float = Field(default=4.0, gt=0)
    """Decimal GB/s that they write; 4 is what data sheets of PCIe 4 drives for data centres say, an assumption."""
    latency_s: float = Field(default=0.0002, ge=0)
    """From asking to the first byte, s; an assumption (NVMe answers within 0.1 ms, the rest is the file system's)."""
    eviction_policy: Eviction = "lru"
    """Which chunks go first; vLLM's file tier deletes none by itself, so lru is an assumption."""
    store_threshold: int = Field(default=0, ge=0)
    """A chunk is stored at its n-th offer; 0 and 1 = at the first, as vLLM does."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class KvStoreSpec:
    """A store below host memory that all replicas of the fleet share, over the NICs of ``fleet.kv_transfer``: what one has
    stored, another finds, where model, types, blocks and tensor parallelism are the same."""

    size_gib: float = Field(default=0.0, ge=0)
    """Room for KV, GiB, of each such kind of replicas; 0 = no store."""
    gb_s: float = Field(default=194.0, gt=0)
    """Decimal GB/s that it reads, and writes, for all replicas together: 194 was measured of remote memory over eight NICs
    of 400 Gb/s (PegaFlow, vLLM blog 2026-05-18)."""
    eviction_policy: Eviction = "lru"
    """Which chunks go first; default: Mooncake's store is LRU."""
    store_threshold: int = Field(default=0, ge=0)
    """A chunk is stored at its n-th offer; 0 and 1 = at the first, as vLLM does."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class KvOffloadSpec:
    """How KV moves between GPU, host memory and what is below it, and which goes first. Off while
    ``engine.kv_offloading_size_gib`` and ``pool_ratio`` are 0."""

    backend: Literal["native", "lmcache", "hicache"] = "native"
    """Whose rules hold where a key below is null: vLLM's own OffloadingConnector (recorded step by step), LMCache or
    SGLang's HiCache (their defaults as their sources state them; when they ask, store and evict is native's)."""
    pool_ratio: float = Field(default=0.0, ge=0, le=1000)
    """Host memory as a multiple of the GPU's KV pool, in place of ``engine.kv_offloading_size_gib``; 0 = as that says
    (SGLang's ``--hicache-ratio``, 2 by default)."""
    chunk_tokens: int | None = Field(default=None, ge=1)
    """Tokens that are stored, found and evicted as one, a multiple of ``engine.block_size``; null = the backend's: a block,
    256 (LMCache), 64 (HiCache)."""
    loads: Loads | None = None
    """beside: a request waits for its load while others compute; in_step: the step that admits it waits; by_layer: that step
    computes a layer as soon as it is there. null = the backend's (native, LMCache, HiCache in this order)."""
    eviction_policy: Eviction = "lru"
    """Which chunks of host memory go first (all three backends' default: lru)."""
    store_threshold: int = Field(default=0, ge=0)
    """A chunk is stored at its n-th offer; 0 and 1 = at the first (all three backends' default; HiCache's
    write_through_selective: 2). Its write_back, which stores what the GPU evicts, is not modelled."""
    prompt_only: bool | None = None
    """Generated tokens are not stored; null = the backend's (true for LMCache alone)."""
    least_tokens: int | None = Field(default=None, ge=1)
    """Fewer tokens are computed, not loaded; null = the backend's (1, 1, 10)."""
    promote_least_tokens: int | None = Field(default=None, ge=1)
    """Fewer tokens are not fetched from a tier below host memory; null = the backend's (1, 1, 256)."""
    promote_wait_s: float | None = Field(default=None, ge=0)
    """A request waits so long, s, for what is fetched from below, and goes on with what has come; null = the backend's:
    until it is there (native, LMCache), 1 (HiCache)."""
    promote_wait_s_per_1k_tokens: float | None = Field(default=None, ge=0)
    """More, s, for each 1,024 tokens that are fetched; null = the backend's (0, 0, 0.25)."""
    gb_s_per_direction: float | None = Field(default=None, gt=0)
    """Decimal GB/s that copying reaches between host and each GPU, each way; null = by the GPU's host link: 50 on PCIe 5
    (measured, one way, blocks of 2 MB: vLLM blog 2026-01-08; both ways at once 83), the same share of the nominal rate on
    older links (an assumption)."""
    job_s: float = Field(default=0.0002, ge=0)
    """Time that each copying job takes beside its bytes, seconds: an assumption, nothing measured was found."""
    disk: KvDiskSpec = KvDiskSpec()
    """A disk below host memory."""

    @property
    def rules(self) -> Backend:
        """The backend's rules, with what is stated here in their place."""
        rules = BACKENDS[self.backend]
        stated: dict[str, Any] = {name: getattr(self, name) for name in Backend._fields}
        return rules._replace(**{name: value for name, value in stated.items() if value is not None})
