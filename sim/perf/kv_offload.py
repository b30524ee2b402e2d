"""What tiers of KV behind the GPU's cache hold, and how fast host memory is filled and read.

    chunks         = size / bytes of a chunk on all GPUs of an engine     (an MLA latent is kept once, not once a GPU)
    time of a job  = job_s + blocks x bytes of a block on one GPU / GB/s  every GPU copies its own part, beside the others

A direction's jobs run one after another; both directions at once, and several engines of one machine, are taken not to slow
each other. Rates: see ``KvOffloadSpec.gb_s_per_direction``. What is below host memory travels over links that others use,
too (``sim.tiers.below``).
"""

from __future__ import annotations

from typing import NamedTuple

from sim.errors import ConfigError
from sim.perf.kv_cache import cache_layout
from sim.spec.engine import EngineSpec
from sim.spec.gpu import GpuSpec
from sim.spec.layers import LatentAttention
from sim.spec.model import ModelSpec
from sim.units import GIB

_MEASURED_GB_S = 50.0
"""On PCIe 5, H100."""
_LINK = {"Turing": 0.25, "Volta": 0.25, "Ampere": 0.5, "Ada": 0.5}
"""Nominal rate of older hosts' links relative to PCIe 5."""


class OffloadPlan(NamedTuple):
    """The tiers of one engine: their chunks, and what copying to and from host memory takes, seconds."""

    chunks: int
    """In host memory."""
    disk_chunks: int
    chunk_blocks: int
    chunk_bytes: float
    """On all GPUs of the engine."""
    block_s: float
    job_s: float
    layers: int
    kind: str
    """Engines of the same kind can read each other's chunks."""

    @property
    def block_bytes(self) -> float:
        """On all GPUs of the engine."""
        return self.chunk_bytes / self.chunk_blocks


def offload_plan(model: ModelSpec, gpu: GpuSpec, engine: EngineSpec, num_gpu_blocks: int) -> OffloadPlan:
    """The tiers of a resolved ``engine`` with host memory for KV and ``num_gpu_blocks`` in each rank's own pool.

    Raises:
        ConfigError: not one chunk fits into host memory, or onto the disk.
    """
    layout = cache_layout(model, engine)
    part = layout.block_bytes * len(layout.groups)
    latent = all(isinstance(group.attention, LatentAttention) for group in model.stack)
    parts = engine.pipeline_parallel_size * (1 if latent else engine.tensor_parallel_size)
    spec, ranks = engine.kv_offload, engine.data_parallel_size
    blocks = (spec.rules.chunk_tokens or engine.block_size) // engine.block_size
    whole = float(part * parts * blocks)
    if spec.pool_ratio:
        chunks, stated = int(spec.pool_ratio * num_gpu_blocks) // blocks, "engine.kv_offload.pool_ratio"
    else:
        chunks, stated = _chunks(engine.kv_offloading_size_gib, ranks, whole), "engine.kv_offloading_size_gib"
    disk = _chunks(spec.disk.size_gib, ranks, whole)
    for count, size, key in (
        (chunks, spec.pool_ratio or engine.kv_offloading_size_gib, stated),
        (disk, spec.disk.size_gib, "engine.kv_offload.disk.size_gib"),
    ):
        if size and count < 1:
            raise ConfigError(
                f"{key}={size:g}: not one {'block' if blocks == 1 else 'chunk'} of {blocks * engine.block_size} tokens "
                f"({whole / GIB:.3g} GiB for each of {ranks} ranks) fits"
            )
    kind = (
        f"{model.name} {model.weight_dtype}, KV {engine.kv_cache_dtype}, chunks of {blocks} x {engine.block_size}, "
        f"TP {engine.tensor_parallel_size}, PP {engine.pipeline_parallel_size}"
    )
    block_s = part / (host_link_gb_s(gpu, engine) * 1e9)
    return OffloadPlan(chunks, disk, blocks, whole, block_s, spec.job_s, model.layer_count, kind)


def _chunks(size_gib: float, ranks: int, chunk_bytes: float) -> int:
    return int(size_gib * GIB / ranks // chunk_bytes) if chunk_bytes else 0


def host_link_gb_s(gpu: GpuSpec, engine: EngineSpec) -> float:
    """Decimal GB/s between host memory and each GPU, each way."""
    return engine.kv_offload.gb_s_per_direction or _MEASURED_GB_S * _LINK.get(gpu.arch, 1.0)
