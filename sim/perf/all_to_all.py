"""What carrying tokens to their experts and back costs a layer, by library and by the number of GPUs that share experts.

    t = latency + bytes / bandwidth          dispatch (1 B a number and 3 % scales) and combine (2 B), one after the other

``allgather_reducescatter`` (vLLM's default): every GPU receives all tokens of the others in 16 bits, and gives back sums.
``deepep_low_latency``: a message a token and expert. Measured on H800 with 400 Gbit/s cards, 128 tokens a GPU of 7168
numbers, 8 experts; ``LATENCY_S`` of each time is taken to be independent of the tokens (an assumption: no time at other
counts is published).
``deepep_high_throughput``: a copy a token and machine (a GPU within one machine). Bandwidths measured with 4096 tokens.
``flashinfer_nvlink_one_sided``: a copy a token and GPU, where NVLink joins all GPUs (726-740 of 900 GB/s on SM100).

Its kernels hold 24 of the H800's 132 multiprocessors; the low-latency ones none while they wait.

Bandwidths scale with the GPU's link (one machine) or NIC (several) against the H800's 200 and 50 GB/s. Between measured
numbers of GPUs times are interpolated in the logarithm; beyond the last they stay.
Sources: deepseek-ai/DeepEP README and docs/legacy.md. Leaves out: group-limited routing (fewer machines a token).
"""

from __future__ import annotations

from math import log
from typing import NamedTuple

from sim.perf.machines import NIC_LATENCY_S, NIC_SHARE, link_bytes_per_s, machines
from sim.spec.engine import All2AllBackend
from sim.spec.gpu import GpuSpec

LATENCY_S = 2.0e-5
H800_LINK_GB_S, H800_NIC_GB_S = 200.0, 50.0
_DISPATCH_BYTES, _COMBINE_BYTES = 1.03, 2.0
_LOW_LATENCY_US = {8: (77, 114), 16: (118, 195), 32: (155, 273), 64: (173, 314), 128: (192, 369), 256: (194, 360)}
_MEASURED_MESSAGES = 128 * 8 * 7168
_NORMAL_GB_S = {8: (153, 158), 16: (43, 43), 32: (58, 57), 64: (51, 50)}
_NVLINK_SHARE = 0.8
_HELD_SHARE = 24 / 132


class AllToAll(NamedTuple):
    """Dispatch and combine of one layer of a mixture together: seconds = latency + the larger of two ways.

    A GPU's own tokens are sent at ``s_per_token``; what arrives is ``s_per_token`` of what an even spread would bring, times
    the imbalance. With ``s_per_gathered_token`` every token of the whole group arrives at every GPU.
    """

    latency_s: float
    s_per_token: float
    s_per_gathered_token: float = 0.0
    held_share: float = 0.0
    """Of the GPU's processors, by its kernels while they run beside a computation."""

    def layer_s(self, most_tokens: float, all_tokens: float, gpus: int, imbalance: float) -> float:
        """Seconds of a layer where the fullest of ``gpus`` GPUs has ``most_tokens`` and all have ``all_tokens``."""
        carried = max(most_tokens, imbalance * all_tokens / gpus)
        return self.latency_s + self.s_per_token * carried + self.s_per_gathered_token * all_tokens


FREE = AllToAll(0.0, 0.0)
"""Nothing is carried: one GPU has all experts."""


def all_to_all(backend: All2AllBackend, gpus: int, gpu: GpuSpec, hidden: int, active: int) -> AllToAll:
    """The cost of ``backend`` among ``gpus`` GPUs for tokens of ``hidden`` numbers that choose ``active`` experts."""
    if gpus == 1:
        return FREE
    nodes = machines(gpus, gpu)
    scale = gpu.link_gb_s_per_direction / H800_LINK_GB_S if nodes == 1 else gpu.nic_gb_s_per_direction / H800_NIC_GB_S
    if backend == "allgather_reducescatter":
        return _gathering(gpus, gpu, hidden)
    if backend == "deepep_low_latency":
        seconds = _interpolated(_LOW_LATENCY_US, gpus)
        latency = 2.0 * LATENCY_S
        moved = (sum(seconds) * 1e-6 - latency) / _MEASURED_MESSAGES
        return AllToAll(latency, moved * active * hidden / scale)
    if backend == "deepep_high_throughput":
        dispatch, combine = _interpolated(_NORMAL_GB_S, gpus)
        copies = _distinct(gpus if nodes == 1 else nodes, active) * hidden
        latency = 2.0 * (LATENCY_S if nodes == 1 else LATENCY_S + NIC_LATENCY_S)
        moved = copies * (_DISPATCH_BYTES / dispatch + _COMBINE_BYTES / combine) / (1e9 * scale)
        return AllToAll(latency, moved, held_share=_HELD_SHARE)
    copies = _distinct(gpus, active) * hidden
    rate = gpu.link_gb_s_per_direction * 1e9 * _NVLINK_SHARE
    return AllToAll(2.0 * LATENCY_S, copies * (_DISPATCH_BYTES + _COMBINE_BYTES) / rate)


def _gathering(gpus: int, gpu: GpuSpec, hidden: int) -> AllToAll:
    """All-gather and reduce-scatter in 16 bits: rings in the machines, and each GPU's share of the rest over its NIC."""
    nodes = machines(gpus, gpu)
    each = -(-gpus // nodes)
    per_token = 2.0 * hidden * (gpus - 1) / gpus / (link_bytes_per_s(each, gpu) * NIC_SHARE)
    if nodes > 1:
        nic = 2.0 * hidden * (nodes - 1) / nodes / each / (gpu.nic_gb_s_per_direction * 1e9 * NIC_SHARE)
        per_token = max(per_token, nic)
    latency = LATENCY_S if nodes == 1 else LATENCY_S + NIC_LATENCY_S
    return AllToAll(2.0 * latency, 0.0, 2.0 * per_token)


def _distinct(places: int, active: int) -> float:
    """Places that hold at least one of ``active`` experts, which lie anywhere."""
    return float(places * (1.0 - (1.0 - 1.0 / places) ** active))


def _interpolated(measured: dict[int, tuple[int, int]], gpus: int) -> tuple[float, float]:
    sizes = sorted(measured)
    if gpus <= sizes[0] or gpus >= sizes[-1]:
        first, second = measured[sizes[0] if gpus <= sizes[0] else sizes[-1]]
        return float(first), float(second)
    above = next(size for size in sizes if size >= gpus)
    below = max(size for size in sizes if size <= gpus)
    if above == below:
        return float(measured[above][0]), float(measured[above][1])
    share = log(gpus / below) / log(above / below)
    low, high = measured[below], measured[above]
    return low[0] + (high[0] - low[0]) * share, low[1] + (high[1] - low[1]) * share
