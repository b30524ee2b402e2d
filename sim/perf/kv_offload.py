"""What a tier of KV in host memory holds, and how fast it is filled and read.

    blocks         = size / bytes of a block on all GPUs of an engine     (an MLA latent is kept once, not once a GPU)
    time of a job  = job_s + blocks x bytes of a block on one GPU / GB/s  every GPU copies its own part, beside the others

A direction's jobs run one after another; both directions at once, and several engines of one machine, are taken not to slow
each other. Rates: see ``KvOffloadSpec.gb_s_per_direction``.
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
    """A tier of one engine: its blocks, and what copying one of them takes, seconds."""

    blocks: int
    block_bytes: float
    """On all GPUs of the engine."""
    block_s: float
    job_s: float


def offload_plan(model: ModelSpec, gpu: GpuSpec, engine: EngineSpec) -> OffloadPlan:
    """The tier of a resolved ``engine`` with ``kv_offloading_size_gib``.

    Raises:
        ConfigError: not one block fits.
    """
    layout = cache_layout(model, engine)
    part = layout.block_bytes * len(layout.groups)
    latent = all(isinstance(group.attention, LatentAttention) for group in model.stack)
    parts = engine.pipeline_parallel_size * (1 if latent else engine.tensor_parallel_size)
    whole = part * parts
    size = engine.kv_offloading_size_gib * GIB / engine.data_parallel_size
    blocks = int(size // whole) if whole else 0
    if blocks < 1:
        raise ConfigError(
            f"engine.kv_offloading_size_gib={engine.kv_offloading_size_gib:g}: not one block of {engine.block_size} tokens "
            f"({whole / GIB:.3g} GiB for each of {engine.data_parallel_size} ranks) fits"
        )
    return OffloadPlan(blocks, whole, part / (host_link_gb_s(gpu, engine) * 1e9), engine.kv_offload.job_s)


def host_link_gb_s(gpu: GpuSpec, engine: EngineSpec) -> float:
    """Decimal GB/s between host memory and each GPU, each way."""
    return engine.kv_offload.gb_s_per_direction or _MEASURED_GB_S * _LINK.get(gpu.arch, 1.0)
