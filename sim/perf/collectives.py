"""Times of communication that every step waits for: all-reduces of tensor parallelism, hand-overs between stages.

    all-reduce within a machine      latency + 2 (g-1)/g x bytes / link                g GPUs; of a mesh of m GPUs, joined
                                                                                       in pairs, (g-1)/(m-1) of the link
    across N machines                + N_LATENCY + 2 (N-1)/N x bytes / g / NIC         each GPU carries its part
    hand-over to the next stage      0; across machines N_LATENCY + bytes / g / NIC

    between two of L layers      each rank beyond two waits RANK_WAIT_S more for the slowest

N_LATENCY and NIC: ``sim.perf.machines``. Over PCIe data pass through the host: an all-reduce reaches ``PCIE_SHARE`` of the
link's rate, an assumption between 0.3 (no peer access: GeForce) and 0.5 (two cards behind one switch, kernel tables of L40S
and RTX PRO 6000), whatever a table says. ``RANK_WAIT_S`` is what dense and mixed models at tensor parallel 8 take beyond
their kernels (H100, vLLM 0.11 to 0.15).
Leaves out: other traffic on the network, oversubscribed switches, in-network reduction.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sim.perf.machines import NIC_LATENCY_S, NIC_SHARE, link_bytes_per_s, machines
from sim.spec.engine import EngineSpec
from sim.spec.gpu import GpuSpec

PCIE_SHARE, PCIE_TABLE_SHARE = 0.4, 0.52
RANK_WAIT_S = 3.5e-7

Array = NDArray[np.float64]


def all_reduce_s(message_bytes: Array, gpus: int, gpu: GpuSpec, latency_s: float, link_share: float) -> Array:
    """Seconds of one all-reduce of ``message_bytes`` over ``gpus`` GPUs; vectorised."""
    nodes = machines(gpus, gpu)
    each = -(-gpus // nodes)
    if gpu.link == "pcie":
        link_share = min(link_share, PCIE_SHARE)
    inside = 2.0 * (each - 1) / each * message_bytes / (link_bytes_per_s(each, gpu) * link_share)
    if nodes == 1:
        return np.asarray(latency_s + inside)
    between = 2.0 * (nodes - 1) / nodes * message_bytes / each / (gpu.nic_gb_s_per_direction * 1e9 * NIC_SHARE)
    return np.asarray(latency_s + inside + NIC_LATENCY_S + between)


def beyond_table_s(message_bytes: Array, gpus: int, gpu: GpuSpec) -> Array:
    """Seconds that one all-reduce over PCIe takes beyond what kernel tables have for it; 0 on other links."""
    if gpu.link != "pcie" or gpus == 1:
        return np.zeros_like(message_bytes)
    moved = 2.0 * (gpus - 1) / gpus * message_bytes / (gpu.link_gb_s_per_direction * 1e9)
    return np.asarray(moved * (1.0 / PCIE_SHARE - 1.0 / PCIE_TABLE_SHARE))


def rank_wait_s(layers: int, gpus: int) -> float:
    """Seconds a step that ``gpus`` tensor-parallel ranks wait for the slowest of them, two collectives a layer."""
    return 2.0 * layers * RANK_WAIT_S * max(0, gpus - 2)


def hand_overs_s(hidden_bytes: Array, engine: EngineSpec, gpu: GpuSpec) -> Array:
    """Seconds in which a batch of ``hidden_bytes`` passes from machine to machine on its way through the stages."""
    tensor, stages = engine.tensor_parallel_size, engine.pipeline_parallel_size
    crossings = max(0, machines(tensor * stages, gpu) - 1) if machines(tensor, gpu) == 1 else stages - 1
    if not crossings:
        return np.zeros_like(hidden_bytes)
    each = min(tensor, gpu.max_scaleup_gpus)
    return np.asarray(crossings * (NIC_LATENCY_S + hidden_bytes / each / (gpu.nic_gb_s_per_direction * 1e9 * NIC_SHARE)))
